"""Audio files as datasets see them: measured once, then read in parts at one sample rate."""

from __future__ import annotations

import hashlib
import os
import tempfile
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
    Resampler,
    downmix_to_stereo,
    read_audio,
    resampled_length,
)
from openunmix.errors import AudioFileError

__all__ = [
    "Recording",
    "decoded_file",
    "decoded_folder",
    "load_audio",
    "load_info",
    "read_decoded",
    "to_channels",
]

_BYTES = 4  # of a float32


def decoded_folder() -> Path:
    """Return the folder of converted files, which need not exist yet.

    Returns
    -------
    Path
        As said above; ``XDG_CACHE_HOME`` takes the place of ``~/.cache``.
    """
    chosen = os.environ.get("OPENUNMIX_DECODED")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "openunmix", "decoded")


def decoded_file(path: Path, stream: int, sample_rate: int) -> Path:
    """Convert a stream, unless that has been done.

    Parameters
    ----------
    path : Path
        An audio file.
    stream : int
        Which of its audio streams.
    sample_rate : int
        Rate wanted in Hz.

    Returns
    -------
    Path
        A file of float32 samples, the channels of one time after each other.

    Raises
    ------
    AudioFileError
        If the stream cannot be read, or the result cannot be written.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror}") from error
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, stream, sample_rate)
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    target = decoded_folder() / f"{name}.f32"
    if not target.exists():
        try:
            _convert(path, stream, sample_rate, target)
        except AudioFileError:
            raise
        except OSError as error:
            raise AudioFileError(
                f"{path}: its decoded audio cannot be kept in {target.parent} ({error.strerror}); "
                "make room there, or name another folder in the variable OPENUNMIX_DECODED"
            ) from error
    return target


def _convert(path: Path, stream: int, sample_rate: int, target: Path) -> None:
    """Decode and resample in blocks to a temporary file, and give it its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with AudioReader(path, stream=stream) as reader:
        resampler = Resampler(reader.info.sample_rate, sample_rate, reader.info.channels)
        empty = np.zeros((reader.info.channels, 0), dtype=np.float32)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                for block in reader:
                    resampler.process(block).T.astype("<f4").tofile(file)
                resampler.process(empty, last=True).T.astype("<f4").tofile(file)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def read_decoded(file: Path, channels: int, start: int, length: int) -> Tensor:
    """Read an excerpt of a converted file.

    Parameters
    ----------
    file : Path
        What :func:`decoded_file` returned.
    channels : int
        Its number of channels.
    start, length : int
        First sample, and the number of them.

    Returns
    -------
    Tensor [shape=(channels, samples)], real
        Fewer samples where the file ends.
    """
    offset = _BYTES * channels * start
    samples = np.fromfile(file, dtype="<f4", count=channels * length, offset=offset)
    return torch.from_numpy(samples.reshape(-1, channels).T.astype(np.float32, order="C"))


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
            If not, the file is converted once, see :mod:`openunmix.data.recordings`.
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
