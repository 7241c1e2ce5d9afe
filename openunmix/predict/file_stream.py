"""The one path from a mixture at any sample rate to its estimates, in aligned blocks.

::

    file -> decode -> downmix -> resample -> networks, filter -> resample -> aligned blocks
                        |                                                        |
                        +---------------------- delay line ----------------------+

What ``umx`` and ``umx-serve`` write and what ``umx-evaluate`` scores comes from
:func:`separate_stream`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from openunmix.audio import AudioReader, AudioSource
from openunmix.audio.channels import Block, downmix_to_stereo
from openunmix.audio.resampling import Resampler
from openunmix.errors import AudioFileError
from openunmix.model import Separator
from openunmix.predict.stream import Rereadable, StreamConfig, separate_channels

Item = TypeVar("Item")

# Samples of a block. Rounding depends on it, so files and waveforms are cut alike.
_BLOCK = 65536

# Blocks decoded while the networks compute: 48 s at 44.1 kHz.
_PREFETCHED = 32


class AlignedBlock(NamedTuple):
    """The same samples of the mixture (channels, n) and its estimates (targets, channels, n)."""

    mixture: Block
    estimates: Block


class FileStream:
    """Blocks of an audio file, downmixed if ``channels`` is 2; only a second reading reopens it."""

    def __init__(self, source: AudioSource, reader: AudioReader, channels: int) -> None:
        self.source = source
        self.channels, self.file_channels = channels, reader.info.channels
        self.sample_rate = reader.info.sample_rate
        self.length = reader.length
        self._unread: AudioReader | None = reader

    def __iter__(self) -> Iterator[Block]:
        unread, self._unread = self._unread, None
        with nullcontext(unread) if unread is not None else self.source.open(_BLOCK) as reader:
            for block in reader:
                yield downmix_to_stereo(block, reader.info.layout) if self.channels == 2 else block


@contextmanager
def open_stream(source: AudioSource, max_channels: int) -> Iterator[FileStream]:
    """Open a file for networks of ``max_channels``: mono ones take any number, others theirs and 1.

    For stereo networks, more than two channels are downmixed.
    """
    with source.open(_BLOCK) as reader:
        channels = reader.info.channels
        if max_channels > 2 and channels not in (1, max_channels):
            raise AudioFileError(
                f"{str(source.path)!r} has {channels} channels and the model takes "
                f"{max_channels}; convert it, or choose another model"
            )
        if channels > max_channels > 1:
            if len(reader.info.layout) != channels:
                raise AudioFileError(
                    f"{str(source.path)!r} has {channels} channels; mix them to two"
                )
            channels = 2
        yield FileStream(source, reader, channels)


def blocks_of(waveform: Tensor) -> list[Block]:
    """Blocks of a waveform (channels, samples), as :class:`FileStream` reads them from a file."""
    return [block.numpy() for block in torch.split(waveform, _BLOCK, dim=-1)]


class Delay:
    """Delay line that holds the mixture until its estimates are computed."""

    def __init__(self, channels: int) -> None:
        self._blocks: deque[Block] = deque()
        self._empty = np.zeros((channels, 0), dtype=np.float32)
        self.samples = 0

    def push(self, block: Block) -> None:
        """Append a block (channels, samples)."""
        self._blocks.append(block)
        self.samples += block.shape[-1]

    def take(self, samples: int) -> Block:
        """Remove and return the oldest samples."""
        parts = [self._empty]
        while samples > 0 and self._blocks:
            block = self._blocks.popleft()
            parts.append(block[:, :samples])
            if block.shape[-1] > samples:
                self._blocks.appendleft(block[:, samples:])
            samples -= parts[-1].shape[-1]
            self.samples -= parts[-1].shape[-1]
        return np.concatenate(parts, axis=-1)


def prefetch(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Iterate in another thread, up to ``count`` items ahead of the consumer."""
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)


def _resampled(blocks: Iterable[Block], resampler: Resampler) -> Iterator[tuple[Block, Block]]:
    """Pair every block with its resampled samples; the last pair flushes the resampler."""
    for block in blocks:
        yield block, resampler.process(block)
    empty = np.zeros((resampler.channels, 0), dtype=np.float32)
    yield empty, resampler.process(empty, last=True)


def separate_stream(
    separator: Separator,
    mixture: Iterable[Block],
    channels: int,
    sample_rate: int,
    config: StreamConfig | None = None,
    at_model_rate: bool = False,
) -> Iterator[AlignedBlock]:
    """Separate a mixture at any sample rate.

    ``mixture`` has blocks (channels, samples), which ``config.exact`` reads twice. The aligned
    blocks are at its sample rate, or at the model's; together they have its length. The residual
    is not among the estimates: it is computed from what is written, see
    :mod:`openunmix.predict.aggregation`.
    """
    targets, model_rate = len(separator.target_models), round(float(separator.sample_rate))
    delay = Delay(channels)
    # Of two readings (exact) the first yields no estimates, so its blocks are not delayed. Mono
    # networks hold a signal of several channels in memory: they read it once in any case.
    one_by_one = separator.nb_channels == 1 < channels
    readings = 2 if config is not None and config.exact and not one_by_one else 1

    def read() -> Iterator[Tensor]:
        nonlocal readings
        readings -= 1
        resampler = Resampler(sample_rate, model_rate, channels)
        for original, resampled in prefetch(_resampled(mixture, resampler), _PREFETCHED):
            if readings == 0:
                delay.push(resampled if at_model_rate else original)
            yield torch.from_numpy(resampled)

    rate = model_rate if at_model_rate else sample_rate
    resampler = Resampler(model_rate, rate, targets * channels)

    def aligned(estimates: Block) -> AlignedBlock:
        samples = estimates.shape[-1]
        return AlignedBlock(delay.take(samples), estimates.reshape(targets, channels, samples))

    for estimates in separate_channels(separator, Rereadable(read), channels, config):
        flat = estimates[:targets].cpu().numpy().reshape(targets * channels, -1)
        yield aligned(resampler.process(flat))
    if readings:  # too short for a sample at the model's rate, and so not read again
        for _ in read():
            pass
    rest = resampler.process(np.zeros((targets * channels, 0), dtype=np.float32), last=True)
    # Converting the rate there and back may gain or lose the last sample.
    missing = max(delay.samples - rest.shape[-1], 0)
    yield aligned(np.pad(rest, ((0, 0), (0, missing)))[:, : delay.samples])
