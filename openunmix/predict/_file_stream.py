"""A file as a mixture that the engine reads, and its estimates, aligned with it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from openunmix.audio import AudioSource, Resampler, downmix_to_stereo
from openunmix.model import Separator
from openunmix.predict.stream import StreamConfig, separate_channels

__all__ = ["Delay", "Mixture", "Sound", "ahead", "sounds"]

# Blocks that are decoded while the engine computes: 48 s at 44.1 kHz.
_AHEAD = 32

Item = TypeVar("Item")


class Sound(NamedTuple):
    """Aligned blocks of one time at the output's rate: (channels, n), (targets, channels, n)."""

    mixture: np.ndarray
    estimates: np.ndarray


class Delay:
    """Holds the mixture back until its estimates are there."""

    def __init__(self, channels: int) -> None:
        self._blocks: deque[np.ndarray] = deque()
        self._empty = np.zeros((channels, 0), dtype=np.float32)
        self.samples = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Add a block; return it."""
        self._blocks.append(block)
        self.samples += block.shape[-1]
        return block

    def take(self, samples: int) -> np.ndarray:
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


class Mixture:
    """A part of a file as blocks at the model's rate, which can be read again and again.

    It is kept at the output's rate until its estimates are there; not so in the first of the two
    readings of ``StreamConfig(exact=True)``, after which there are none.

    Parameters
    ----------
    part : AudioSource
        What to read.
    channels : int
        Channels wanted: two of more are mixed down.
    model_rate : int
        Sample rate of the blocks in Hz.
    at_model_rate : bool
        Whether that is the output's rate, too; otherwise it is the file's.
    exact : bool
        Whether there are two readings.
    """

    def __init__(
        self, part: AudioSource, channels: int, model_rate: int, at_model_rate: bool, exact: bool
    ) -> None:
        self.part = part
        self.channels = channels
        self.model_rate = model_rate
        self.at_model_rate = at_model_rate
        self.delay = Delay(channels)
        self._unkept = 1 if exact else 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        kept = self._unkept == 0
        self._unkept = 0
        for original, resampled in ahead(self._decode(), _AHEAD):
            if kept:
                self.delay.push(resampled if self.at_model_rate else original)
            yield torch.from_numpy(resampled)

    def _decode(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield blocks as they are in the file, mixed down, and at the model's rate."""
        with self.part.open() as reader:
            resampler = Resampler(reader.info.sample_rate, self.model_rate, self.channels)
            nothing = np.zeros((reader.info.channels, 0), dtype=np.float32)
            for block in itertools.chain(reader, [nothing]):
                mixed = block
                if self.channels == 2:
                    mixed = downmix_to_stereo(block, reader.info.layout)
                yield mixed, resampler.process(mixed, last=block is nothing)


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Take items from an iterator in another thread, some of them before they are asked for."""
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)


def sounds(
    mixture: Mixture, separator: Separator, config: StreamConfig | None, rate: int
) -> Iterator[Sound]:
    """Separate; yield the mixture and its estimates, aligned, at the output's rate."""
    sources, channels = len(separator.target_models), mixture.channels
    resampler = Resampler(mixture.model_rate, rate, sources * channels)

    def aligned(estimates: np.ndarray, last: bool = False) -> Sound:
        flat = resampler.process(estimates.reshape(sources * channels, -1), last=last)
        if last:  # a rate there and back may gain or lose the last sample
            missing = max(mixture.delay.samples - flat.shape[-1], 0)
            flat = np.pad(flat, ((0, 0), (0, missing)))[:, : mixture.delay.samples]
        flat = flat.reshape(sources, channels, -1)
        return Sound(mixture.delay.take(flat.shape[-1]), flat)

    for estimates in separate_channels(separator, mixture, channels, config):
        yield aligned(estimates[:sources].cpu().numpy())
    yield aligned(np.zeros((sources, channels, 0), dtype=np.float32), last=True)
