"""Reading a file, or a part of it, in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from openunmix.audio._paths import StrPath, shown
from openunmix.audio.channels import Block
from openunmix.audio.decoders import AudioInfo, open_decoder
from openunmix.errors import AudioFileError

__all__ = ["AudioReader", "check_finite", "regroup"]


def check_finite(block: Block, path: StrPath, first_sample: int, sample_rate: int) -> None:
    """Raise if a block has a value that is not a number.

    Parameters
    ----------
    block : ndarray [shape=(channels, samples)], float
        The samples.
    path : str or path
        The file they come from.
    first_sample : int
        Position of the block's first sample in the file.
    sample_rate : int
        In Hz.

    Raises
    ------
    AudioFileError
        Naming the file and the position of the first NaN or infinity.
    """
    finite = np.isfinite(block)
    if finite.all():
        return
    sample = int(np.argmin(finite.all(axis=0)))
    channel = int(np.argmin(finite[:, sample]))
    position = first_sample + sample
    raise AudioFileError(
        f"{shown(path)} has the value {block[channel, sample]} in channel {channel} at sample "
        f"{position} ({position / sample_rate:.3f} s); repair it or export the file again"
    )


class AudioReader:
    """An audio file as a stream of blocks.

    A context manager and an iterator, to be run through once. The memory it takes does
    not depend on the length of the file. The content decides how it is decoded, not the
    extension: libsndfile for WAV, FLAC, AIFF and Ogg, FFmpeg for everything else.

    Parameters
    ----------
    path : str or path
        A regular file.
    start : float >= 0
        First sample to deliver, in seconds, rounded to a sample. Exact for every
        format: where a seek would not be, everything before is decoded and dropped.
    duration : float, optional
        Seconds to deliver; None or a negative value means to the end. A file that ends
        earlier delivers less.
    block : int > 0
        Samples of every block but the last; 65536 are 1.5 s at 44.1 kHz.
    stream : int, optional
        Which audio stream of a file with several, counted from 0, which is the default
        and the mixture of a ``.stem.mp4``.

    Attributes
    ----------
    info : AudioInfo
        What the file says about itself.
    length : int or None
        Samples that will be delivered; as exact as ``info.samples``.

    Raises
    ------
    AudioFileError
        If the file is missing, no regular file, empty, unreadable, not audio, without
        such a stream, or ends before `start`; while iterating, if it is damaged, cut
        short or has values that are not finite. The message names the file.
    ValueError
        If `start`, `duration` or `block` is out of range.
    """

    def __init__(
        self,
        path: StrPath,
        start: float = 0.0,
        duration: float | None = None,
        block: int = 65536,
        stream: int | None = None,
    ) -> None:
        if not (math.isfinite(start) and start >= 0):
            raise ValueError(f"start is {start}, expected seconds from 0 on")
        if duration is not None and (duration == 0 or not math.isfinite(duration)):
            raise ValueError(f"duration is {duration}, expected seconds, or None for the rest")
        if block <= 0:
            raise ValueError(f"block is {block}, expected a positive number of samples")
        self.path = path
        self._decoder = open_decoder(path, stream)
        self.info: AudioInfo = self._decoder.info
        self._block = block
        self._start = start
        self._first = round(start * self.info.sample_rate)
        self._limit = None
        if duration is not None and duration > 0:
            self._limit = max(1, round(duration * self.info.sample_rate))
        try:
            self.length = self._expected_length()
        except AudioFileError:
            self.close()
            raise
        self._blocks = self._read()

    def _expected_length(self) -> int | None:
        """Count the samples to come; raise where the header already says that there are none."""
        samples = self.info.samples
        if samples == 0:
            raise AudioFileError(f"{shown(self.path)} has no samples; export it again")
        if samples is None:
            return self._limit
        # An estimate may be a little short, so only the decoder decides at the edge.
        if self._first > samples + self.info.sample_rate:
            raise self._beyond_the_end(samples)
        left = max(0, samples - self._first)
        return left if self._limit is None else min(left, self._limit)

    def _beyond_the_end(self, samples: int) -> AudioFileError:
        """Make the error for a start after the last sample."""
        return AudioFileError(
            f"{shown(self.path)} lasts {samples / self.info.sample_rate:.3f} s; "
            f"it has nothing from start={self._start:g} s on"
        )

    def _read(self) -> Iterator[Block]:
        """Regroup what the decoder gives to blocks of one size."""
        position = self._first
        for block in regroup(self._decoder.chunks(self._first), self._block, self._limit):
            check_finite(block, self.path, position, self.info.sample_rate)
            position += block.shape[1]
            yield block
        if position == self._first:
            raise self._beyond_the_end(self.info.samples or position)

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        return next(self._blocks)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def regroup(chunks: Iterator[Block], size: int, limit: int | None) -> Iterator[Block]:
    """Chunks of any size as blocks of one size, the last one shorter, at most `limit` in all."""
    held: list[Block] = []
    holding = given = 0
    for chunk in chunks:
        if limit is not None:
            chunk = chunk[:, : limit - given - holding]
        while holding + chunk.shape[1] >= size:
            take = size - holding
            yield np.concatenate([*held, chunk[:, :take]], axis=1)
            chunk, held, holding, given = chunk[:, take:], [], 0, given + size
        held.append(chunk)
        holding += chunk.shape[1]
        if given + holding == limit:
            break
    if holding:
        yield np.concatenate(held, axis=1)
