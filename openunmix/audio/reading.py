"""Reading of audio files and excerpts, in blocks or as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openunmix.audio._paths import StrPath, quote
from openunmix.audio.channels import Block, downmix_to_stereo
from openunmix.audio.decoders import open_decoder
from openunmix.audio.info import AudioInfo
from openunmix.errors import AudioFileError


class AudioClip(NamedTuple):
    """Audio in memory."""

    waveform: Tensor  # (channels, samples), float32, full scale at 1
    sample_rate: int  # Hz


class AudioReader:
    """Reader of an audio file or an excerpt of it, block by block.

    A context manager and an iterator, to be iterated once. The content of the file selects
    the decoder, not its extension.

    Parameters
    ----------
    path : str or path
        A regular file.
    start : float >= 0
        Start of the excerpt in seconds, rounded to a sample. Exact for every format: where
        seeking is not, everything before is decoded and dropped.
    duration : float, optional
        Its duration in seconds; None or a negative value means to the end. Less is read
        from a file that ends earlier.
    block : int > 0
        Length of every block but the last, in samples; 65536 are 1.5 s at 44.1 kHz.
    stream : int, optional
        Index of the audio stream; the default, 0, is the mixture of a ``.stem.mp4``.

    Raises
    ------
    AudioFileError
        If the file is missing, no regular file, empty, unreadable, not audio, without such
        a stream, or ends before `start`; while iterating, if it is damaged, truncated or has
        values that are not finite. The message names the file.
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
        self.close = self._decoder.close
        self._block = block
        self._start = start
        self._first = round(start * self.info.sample_rate)
        self._limit = None
        if duration is not None and duration > 0:
            self._limit = max(1, round(duration * self.info.sample_rate))
        try:
            #: Length of the excerpt in samples; as exact as ``info.samples``.
            self.length = self._expected_length()
        except AudioFileError:
            self.close()
            raise
        self._blocks = self._read()

    def _expected_length(self) -> int | None:
        """Length of the excerpt; raise if the header already shows that there is none."""
        samples = self.info.samples
        if samples == 0:
            raise AudioFileError(f"{quote(self.path)} has no samples; export it again")
        if samples is None:
            return self._limit
        # The container's estimate may be short, so at the edge the decoder decides; FFmpeg
        # guesses that of MPEG audio from the bit rate of its start.
        guessed = self.info.format in ("mp3", "aac")
        if self._first > samples + self.info.sample_rate and not guessed:
            raise self._beyond_the_end(samples)
        remaining = max(0, samples - self._first)
        return remaining if self._limit is None else min(remaining, self._limit)

    def _beyond_the_end(self, samples: int) -> AudioFileError:
        """Error for a start after the last sample."""
        return AudioFileError(
            f"{quote(self.path)} lasts {samples / self.info.sample_rate:.3f} s; "
            f"it has nothing from start={self._start:g} s on"
        )

    def _read(self) -> Iterator[Block]:
        """Yield the excerpt in blocks of one size."""
        position = self._first
        for block in _rebuffer(self._decoder.chunks(self._first), self._block, self._limit):
            _check_finite(block, self.path, position, self.info.sample_rate)
            position += block.shape[1]
            yield block
        if position == self._first:
            raise self._beyond_the_end(self.info.samples or position)

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        return next(self._blocks)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def probe(path: StrPath) -> AudioInfo:
    """Format and length of an audio file, without decoding it.

    Parameters
    ----------
    path : str or path
        A regular file, or AudioFileError is raised.

    Returns
    -------
    AudioInfo
        Of the first audio stream.
    """
    decoder = open_decoder(path)
    decoder.close()
    return decoder.info


def read_audio(
    path: StrPath,
    start: float = 0.0,
    duration: float | None = None,
    stream: int | None = None,
    stereo: bool = False,
) -> AudioClip:
    """Read a file, or an excerpt of it, into memory.

    Parameters
    ----------
    path, start, duration, stream
        As in `AudioReader`, which documents the errors, too.
    stereo : bool
        Whether to mix more than two channels down to two (ITU-R BS.775).

    Returns
    -------
    AudioClip
        Waveform and sample rate.
    """
    with AudioReader(path, start=start, duration=duration, stream=stream) as reader:
        blocks = [_stereo(block, reader) for block in reader] if stereo else list(reader)
        waveform = np.concatenate(blocks, axis=1)
        return AudioClip(torch.from_numpy(waveform), reader.info.sample_rate)


def _stereo(block: Block, reader: AudioReader) -> Block:
    """Mix a block down by the names of its channels; raise if they have none."""
    try:
        return downmix_to_stereo(block, reader.info.layout)
    except ValueError as error:
        raise AudioFileError(f"{quote(reader.path)}: {error}") from error


def _rebuffer(chunks: Iterator[Block], size: int, limit: int | None) -> Iterator[Block]:
    """Yield chunks of any size as blocks of `size` samples, at most `limit` samples in all."""
    held: list[Block] = []
    holding = yielded = 0
    for chunk in chunks:
        if limit is not None:
            chunk = chunk[:, : limit - yielded - holding]
        while holding + chunk.shape[1] >= size:
            take = size - holding
            yield np.concatenate([*held, chunk[:, :take]], axis=1)
            chunk, held, holding, yielded = chunk[:, take:], [], 0, yielded + size
        held.append(chunk)
        holding += chunk.shape[1]
        if yielded + holding == limit:
            break
    if holding:
        yield np.concatenate(held, axis=1)


def _check_finite(block: Block, path: StrPath, first_sample: int, sample_rate: int) -> None:
    """Raise if a block has a value that is not finite; name its position in the file."""
    finite = np.isfinite(block)
    if finite.all():
        return
    sample = int(np.argmin(finite.all(axis=0)))
    channel = int(np.argmin(finite[:, sample]))
    position = first_sample + sample
    raise AudioFileError(
        f"{quote(path)} has the value {block[channel, sample]} in channel {channel} at sample "
        f"{position} ({position / sample_rate:.3f} s); repair it or export the file again"
    )
