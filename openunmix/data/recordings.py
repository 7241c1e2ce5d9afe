"""Audio files as data sets see them: measured once, then read in parts at one sample rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openunmix.audio import (
    AudioClip,
    AudioReader,
    downmix_to_stereo,
    read_audio,
    resampled_length,
)
from openunmix.data.decoded import decoded_file, read_decoded
from openunmix.errors import AudioFileError

__all__ = ["Recording", "load_audio", "load_info", "to_channels"]

# Codings, as libsndfile calls them, of which any part can be read for itself: WAV, AIFF, FLAC ...
_DIRECT = ("pcm_s8", "pcm_u8", "pcm_16", "pcm_24", "pcm_32", "float", "double")


@dataclass(frozen=True)
class Recording:
    """An audio stream in a file.

    Attributes
    ----------
    path : Path
        The file.
    sample_rate : int
        Its own rate in Hz.
    channels : int
        Its number of channels.
    samples : int
        Its length at its own rate.
    stream : int
        Which audio stream of the file: 0, or the place of a stem in a ``.stem.mp4``.
    codec : str
        How it is coded.
    """

    path: Path
    sample_rate: int
    channels: int
    samples: int
    stream: int = 0
    codec: str = "pcm_16"

    @classmethod
    def open(cls, path: Path, stream: int = 0) -> Recording:
        """Look at a file.

        Parameters
        ----------
        path : Path
            The file.
        stream : int
            Which of its audio streams.

        Returns
        -------
        Recording
            What it says about itself. A file that does not tell its length is decoded.

        Raises
        ------
        AudioFileError
            If it cannot be read as audio.
        """
        with AudioReader(path, stream=stream) as reader:
            info = reader.info
            samples = info.samples or sum(block.shape[1] for block in reader)
        return cls(path, info.sample_rate, info.channels, samples, stream, info.codec)

    def is_direct(self, sample_rate: int) -> bool:
        """Tell whether excerpts are read from the file itself.

        Parameters
        ----------
        sample_rate : int
            The rate wanted in Hz.

        Returns
        -------
        bool
            If not, the file is converted once, see :mod:`openunmix.data.decoded`.
        """
        return sample_rate == self.sample_rate and self.codec in _DIRECT

    def length(self, sample_rate: int) -> int:
        """Count the samples at another rate.

        Parameters
        ----------
        sample_rate : int
            Hz.

        Returns
        -------
        int
            As many as :meth:`read` can give.
        """
        return resampled_length(self.samples, self.sample_rate, sample_rate)

    def read(self, start: int, length: int, sample_rate: int) -> Tensor:
        """Read an excerpt at any rate.

        Parameters
        ----------
        start, length : int
            First sample and number of samples, at the rate wanted.
        sample_rate : int
            The rate wanted in Hz.

        Returns
        -------
        Tensor [shape=(channels, samples)], real
            What these samples are in the whole file after resampling.

        Raises
        ------
        AudioFileError
            If the file cannot be read, or has become shorter.
        """
        length = min(length, self.length(sample_rate) - start)
        if self.is_direct(sample_rate):
            begin, duration = start / sample_rate, length / sample_rate
            waveform = read_audio(self.path, begin, duration, self.stream).waveform
        else:
            file = decoded_file(self.path, self.stream, sample_rate)
            waveform = read_decoded(file, self.channels, start, length)
        missing = length - waveform.shape[-1]
        # The length in the header of a compressed file is an estimate.
        if missing > sample_rate // 4:
            raise AudioFileError(
                f"{str(self.path)!r} ends {missing / sample_rate:.3f} s before its length of "
                f"{self.samples / self.sample_rate:.3f} s; it is damaged or was changed while in "
                "use"
            )
        return torch.nn.functional.pad(waveform, (0, missing))


def to_channels(waveform: Tensor, channels: int) -> Tensor:
    """Bring a waveform to a number of channels.

    Parameters
    ----------
    waveform : Tensor [shape=(channels, samples)], real
        Any number of channels.
    channels : int
        How many to return.

    Returns
    -------
    Tensor [shape=(channels, samples)], real
        As it is where it fits; mono duplicated; the mean of all channels for mono; more than
        two downmixed to stereo.

    Raises
    ------
    ValueError
        If there is no way from one number to the other.

    Examples
    --------
    >>> to_channels(torch.ones(1, 3), 2).shape
    torch.Size([2, 3])
    """
    present = waveform.shape[0]
    if present == channels:
        return waveform
    if present == 1:
        return waveform.repeat(channels, 1)
    if channels == 1:
        return waveform.mean(dim=0, keepdim=True)
    if channels == 2:
        block = waveform.numpy().astype(np.float32, copy=False)
        return torch.from_numpy(downmix_to_stereo(block))
    raise ValueError(f"cannot make {channels} channels of {present}; convert the file first")


def load_info(path: str | Path) -> dict[str, Any]:
    """Read what an audio file says about itself.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict
        ``samplerate`` in Hz, ``samples``, ``channels`` and ``duration`` in seconds.

    Raises
    ------
    AudioFileError
        If the file cannot be read as audio.
    """
    recording = Recording.open(Path(path))
    return {
        "samplerate": recording.sample_rate,
        "samples": recording.samples,
        "channels": recording.channels,
        "duration": recording.samples / recording.sample_rate,
    }


def load_audio(
    path: str | Path,
    start: float = 0.0,
    dur: float | None = None,
    info: Mapping[str, Any] | None = None,
) -> AudioClip:
    """Read an audio file, or a part of it, at its own rate.

    Parameters
    ----------
    path : str or Path
        The file.
    start : float
        Seconds to leave out at the beginning.
    dur : float, optional
        Seconds to read; to the end if not given or not positive.
    info : mapping, optional
        What :func:`load_info` returned, as 1.3.0 wanted it; not needed.

    Returns
    -------
    AudioClip
        The waveform (channels, samples), real, and its sample rate in Hz.

    Raises
    ------
    AudioFileError
        If the file cannot be read as audio.
    """
    return read_audio(path, start, dur if dur and dur > 0 else None)
