"""Recordings: excerpts of audio files at any sample rate, from a cache of decoded files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openunmix._files import replacing
from openunmix.audio import AudioClip, AudioSource, read_audio
from openunmix.audio.channels import downmix_to_stereo
from openunmix.audio.resampling import Resampler, resampled_length
from openunmix.errors import AudioFileError


def decoded_folder() -> Path:
    """Folder of converted files: ``OPENUNMIX_DECODED``, or one in the user's cache."""
    chosen = os.environ.get("OPENUNMIX_DECODED")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "openunmix", "decoded")


def decoded_file(source: AudioSource, sample_rate: int) -> Path:
    """Convert a stream at the first call; return a file of interleaved float32 samples."""
    path, stream = source.path, source.stream or 0
    try:
        status = path.stat()
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror}") from error
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, stream, sample_rate)
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    target = decoded_folder() / f"{name}.f32"
    if not target.exists():
        try:
            _convert(source, sample_rate, target)
        except AudioFileError:
            raise
        except OSError as error:
            raise AudioFileError(
                f"{path}: its decoded audio cannot be kept in {target.parent} ({error.strerror}); "
                "make room there, or name another folder in the variable OPENUNMIX_DECODED"
            ) from error
    return target


def _convert(source: AudioSource, sample_rate: int, target: Path) -> None:
    """Decode and resample in blocks to a temporary file, then rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open() as reader, replacing(target) as temporary, temporary.open("wb") as file:
        resampler = Resampler(reader.info.sample_rate, sample_rate, reader.info.channels)
        for block in reader:
            resampler.process(block).T.astype("<f4").tofile(file)
        empty = np.zeros((reader.info.channels, 0), dtype=np.float32)
        resampler.process(empty, last=True).T.astype("<f4").tofile(file)


# Codecs, in libsndfile's names, with exact seeking: those of WAV, AIFF and FLAC.
_DIRECT = ("pcm_s8", "pcm_u8", "pcm_16", "pcm_24", "pcm_32", "float", "double")


@dataclass(frozen=True)
class Recording:
    """An audio stream in a file, with its own sample rate in Hz and length in samples."""

    source: AudioSource
    sample_rate: int
    channels: int
    samples: int
    codec: str = "pcm_16"
    layout: tuple[str, ...] = ()  # names of the channels

    @classmethod
    def open(cls, source: AudioSource) -> Recording:
        """Read the header; a file without a length in it is decoded."""
        with source.open() as reader:
            info = reader.info
            samples = info.samples or sum(block.shape[1] for block in reader)
        return cls(source, info.sample_rate, info.channels, samples, info.codec, info.layout)

    def is_direct(self, sample_rate: int) -> bool:
        """Whether excerpts at this rate are read from the file itself, without conversion."""
        return sample_rate == self.sample_rate and self.codec in _DIRECT

    def length(self, sample_rate: int) -> int:
        """Length in samples at another rate in Hz."""
        return resampled_length(self.samples, self.sample_rate, sample_rate)

    def read(self, start: int, length: int, sample_rate: int) -> Tensor:
        """Read an excerpt (channels, samples) of the whole file resampled to a rate in Hz.

        ``start`` and ``length`` are in samples at that rate.
        """
        length = min(length, self.length(sample_rate) - start)
        path = self.source.path
        if self.is_direct(sample_rate):
            begin, duration = start / sample_rate, length / sample_rate
            waveform = read_audio(path, begin, duration, self.source.stream).waveform
        else:
            file, channels = decoded_file(self.source, sample_rate), self.channels
            offset = 4 * channels * start  # in bytes
            samples = np.fromfile(file, dtype="<f4", count=channels * length, offset=offset)
            interleaved = samples.reshape(-1, channels)
            waveform = torch.from_numpy(interleaved.T.astype(np.float32, order="C"))
        missing = length - waveform.shape[-1]
        # The length in the header of a compressed file is an estimate.
        if missing > sample_rate // 4:
            raise AudioFileError(
                f"{str(path)!r} ends {missing / sample_rate:.3f} s before its length of "
                f"{self.samples / self.sample_rate:.3f} s; it is damaged or was changed while in "
                "use"
            )
        return torch.nn.functional.pad(waveform, (0, missing))


def to_channels(waveform: Tensor, channels: int, layout: Sequence[str] = ()) -> Tensor:
    """Convert a waveform (channels, samples) to a number of channels.

    Mono is duplicated, stereo averaged for mono, more than two channels, which ``layout`` names,
    downmixed to stereo first.
    """
    present = waveform.shape[0]
    if present == channels:
        return waveform
    if present == 1:
        return waveform.repeat(channels, 1)
    if channels <= 2:
        block = waveform.numpy().astype(np.float32, copy=False)
        stereo = torch.from_numpy(downmix_to_stereo(block, layout))
        return stereo if channels == 2 else stereo.mean(dim=0, keepdim=True)
    raise ValueError(f"cannot make {channels} channels of {present}; convert the file first")


def load_info(path: str | Path) -> dict[str, Any]:
    """Read the header of an audio file.

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
    recording = Recording.open(AudioSource(Path(path)))
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
    """Read an audio file, or an excerpt of it, at its own sample rate.

    Parameters
    ----------
    path : str or Path
        The file.
    start : float
        Start in seconds.
    dur : float, optional
        Duration in seconds; to the end if not given or not positive.
    info : mapping, optional
        Result of :func:`load_info`, as in 1.3.0; not needed.

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
