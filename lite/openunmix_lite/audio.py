"""Audio files as streams of blocks, their channels, and their sample rates."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from openunmix_lite.errors import LiteError
from openunmix_lite.types import Real

BLOCK = 65536  # samples

_HALF = 0.5**0.5
# Weights of channels in (left, right): Recommendation ITU-R BS.775-3, table 2. By the number of
# channels, in the order of WAV; the low-frequency channel is left out.
_FRONT = [(1.0, 0.0), (0.0, 1.0)]
_CENTRE, _NONE, _ONE_BACK = (_HALF, _HALF), (0.0, 0.0), (0.5, 0.5)
_BACK = [(_HALF, 0.0), (0.0, _HALF)]
_DOWNMIX = {
    3: [*_FRONT, _CENTRE],
    4: [*_FRONT, *_BACK],
    5: [*_FRONT, _CENTRE, *_BACK],
    6: [*_FRONT, _CENTRE, _NONE, *_BACK],
    7: [*_FRONT, _CENTRE, _NONE, _ONE_BACK, *_BACK],
    8: [*_FRONT, _CENTRE, _NONE, *_BACK, *_BACK],
}
# Where Vorbis and Opus have the channels of WAV: Vorbis I specification, section 4.3.9.
_VORBIS = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 5, 3, 4],
    7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}


def downmix(block: Real) -> Real:
    """Mix more than two channels down to two by ITU-R BS.775, (channels, samples) to (2, samples).

    The front channels keep their level, so the result may exceed 1.
    """
    if len(block) <= 2:
        return block
    return np.array(_DOWNMIX[len(block)], np.float32).T @ block


class AudioFile:
    """An audio file, or an excerpt of it; iterating yields blocks (channels, samples).

    ``start`` and ``duration`` are in seconds. MP3 is read by PyAV if that is installed, as
    libsndfile stops where a header is wrong; what neither knows raises LiteError.
    """

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None) -> None:
        self.path = path
        _check_readable(path)
        self._decoder = _open(path)
        self.sample_rate: int = self._decoder.sample_rate
        self.channels: int = self._decoder.channels
        self.tags: dict[str, str] = self._decoder.tags
        self._first = round(start * self.sample_rate)
        is_limited = duration is not None and duration > 0
        self._last = (
            self._first + max(1, round(duration * self.sample_rate)) if is_limited else None
        )
        #: Samples to expect; 0 if unknown.
        self.length = max(0, min(self._decoder.samples, self._last or 2**63) - self._first)

    def __iter__(self) -> Iterator[Real]:
        position = 0
        for block in self._decoder.blocks():
            end = position + block.shape[1]
            wanted = block[:, max(0, self._first - position) : (self._last or end) - position]
            position = end
            if not np.isfinite(wanted).all():
                raise LiteError(
                    f"{str(self.path)!r} has values that are not finite; repair it or export it "
                    "again"
                )
            if wanted.shape[1]:
                yield wanted
            if self._last is not None and position >= self._last:
                break
        if position <= self._first:
            seconds = position / self.sample_rate
            raise LiteError(
                f"{str(self.path)!r} lasts {seconds:.3f} s; it has nothing from "
                f"{self._first / self.sample_rate:g} s on"
            )


def _check_readable(path: Path) -> None:
    """Raise LiteError unless a path is a regular file that is not empty."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise LiteError(f"{str(path)!r} does not exist; check the path") from error
    except OSError as error:
        raise LiteError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if not path.is_file():
        raise LiteError(f"{str(path)!r} is no regular file; give an audio file")
    if status.st_size == 0:
        raise LiteError(f"{str(path)!r} is empty (0 bytes); fetch or export it again")


def _open(path: Path) -> Any:
    """Open a file with the library that reads it best."""
    has_av = importlib.util.find_spec("av") is not None
    is_mpeg = path.suffix.lower() == ".mp3" and has_av
    if not is_mpeg:
        try:
            return _Sndfile(path)
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: anything named *.raw
            if not has_av:
                reason = str(error).removeprefix("Error opening ").strip()
                raise LiteError(
                    f"{str(path)!r} cannot be read: {reason.rpartition(': ')[2].rstrip('.')}; for "
                    "M4A, video and others: pip install 'openunmix-lite[formats]'"
                ) from error
    from openunmix_lite.formats import Decoder

    return Decoder(path)


class _Sndfile:
    """WAV, FLAC, AIFF, Ogg, MP3 and so on through libsndfile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = soundfile.SoundFile(os.fspath(path.absolute()))
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        self.samples = self._file.frames
        self.tags = {key: text for key, text in self._file.copy_metadata().items() if text}
        is_vorbis = self._file.format == "OGG"
        self._order = _VORBIS.get(self.channels, slice(None)) if is_vorbis else slice(None)

    def blocks(self) -> Iterator[Real]:
        """Yield all of the file."""
        position = 0
        with self._file:
            while position < self.samples:
                try:
                    block = self._file.read(BLOCK, dtype="float32", always_2d=True).T
                except soundfile.SoundFileError as error:
                    raise self._cut_short(position) from error
                if not block.shape[1]:
                    raise self._cut_short(position)
                position += block.shape[1]
                yield block[self._order]

    def _cut_short(self, position: int) -> LiteError:
        return LiteError(
            f"{str(self._path)!r} is damaged or cut short: decoding stopped after {position} of "
            f"{self.samples} samples; fetch or export it again"
        )


class Resampler:
    """Sample rate converter of a stream, soxr's HQ; equal rates pass it through."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self._rates, self._channels = (rate_in, rate_out), channels
        self._taken = self._given = 0
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(
                rate_in, rate_out, channels, dtype="float32", quality="HQ"
            )

    def process(self, block: Real | None) -> Real:
        """Convert a block (channels, samples); None is the end, where the filter is flushed."""
        is_last = block is None
        if block is None:
            block = np.zeros((self._channels, 0), np.float32)
        if self._stream is None:
            return block
        self._taken += block.shape[1]
        interleaved = np.ascontiguousarray(block.T, np.float32)
        resampled = self._stream.resample_chunk(interleaved, last=is_last).T
        if is_last:  # of all, exactly as many as the rates say
            missing = round(self._taken * self._rates[1] / self._rates[0]) - self._given
            resampled = resampled[:, : max(missing, 0)]
            resampled = np.pad(resampled, ((0, 0), (0, missing - resampled.shape[1])))
        self._given += resampled.shape[1]
        return resampled
