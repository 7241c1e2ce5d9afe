r"""Augmentation of whole batches, on the device on which the networks are.

A batch comes as mixtures and sources that were recorded together. It is changed in this order:

1. *pitch and tempo*: some items are transposed and played faster or slower, all their sources
   alike, so that they stay in tune and in time;
2. *levels and panning*: each source gets a gain, its channels may be swapped, and mono is panned;
3. *remixing*: some sources move on to the next item, so that part of the mixtures is of sources
   that do not belong together.

The residual of the mixture, such as the interferers of a single target, goes through the same as
one more source. Everything random comes from one generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from openunmix.data.augment.effects import pan_gains, pitch_shift, swap_channels


class Batch(NamedTuple):
    """Mixtures, and the sources that the networks estimate."""

    #: (batch, channels, samples)
    mixture: Tensor
    #: (batch, targets, channels, samples)
    sources: Tensor
    #: Bandwidth of each source in Hz (batch, targets), infinite for no limit.
    bandwidth: Tensor | None = None
    #: Indices of the examples in their dataset.
    items: Sequence[int] = ()

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        bandwidth = None if self.bandwidth is None else self.bandwidth.to(device)
        mixture = self.mixture.to(device, non_blocking=True)
        sources = self.sources.to(device, non_blocking=True)
        return self._replace(mixture=mixture, sources=sources, bandwidth=bandwidth)


@dataclass(frozen=True)
class BatchAugmentation:
    """How batches are changed; call it with a batch."""

    #: Least and largest factor of a source.
    gain: tuple[float, float] = (0.25, 1.25)
    #: Probability that the channels of a source are exchanged.
    swap: float = 0.5
    #: How far mono sources are moved from the centre at most: 0 not at all, 1 to the sides.
    pan: float = 0.5
    #: Probability that an item is mixed of sources of several items.
    remix: float = 0.5
    #: Probability that pitch and tempo of an item are changed.
    changed: float = 0.2
    #: Largest change of pitch, up or down.
    semitones: float = 2.0
    #: Largest relative change of tempo: 0.1 is up to 10 % faster or slower. The excerpts of all
    #: batches become shorter by this, as the fastest ones need more.
    tempo: float = 0.1
    #: Hz, for the bandwidth of what is transposed.
    sample_rate: float = 44100.0

    @torch.no_grad()
    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change a batch; the generator is one of the CPU."""
        residual = batch.mixture - batch.sources.sum(dim=1)
        parts = torch.cat([batch.sources, residual[:, None]], dim=1)
        bandwidth = batch.bandwidth
        if bandwidth is not None:
            bandwidth = bandwidth.to(parts.device, copy=True)
        parts, bandwidth = self._change(parts, bandwidth, generator)
        parts = self._place(parts, generator)
        parts, bandwidth = self._remix(parts, bandwidth, generator)
        return Batch(parts.sum(dim=1), parts[:, :-1], bandwidth, batch.items)

    def _change(
        self, parts: Tensor, bandwidth: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Change pitch and tempo of some items."""
        if not (self.changed and (self.semitones or self.tempo)):
            return parts, bandwidth
        batch, samples = parts.shape[0], parts.shape[-1]
        drawn = torch.rand(batch, 3, generator=generator).tolist()
        length = math.floor(samples / (1 + self.tempo))
        changed = parts[..., :length].clone()
        for item, (chance, pitch, speed) in enumerate(drawn):
            if chance >= self.changed:
                continue
            semitones = self.semitones * (2 * pitch - 1)
            tempo = 1 + self.tempo * (2 * speed - 1)
            changed[item] = pitch_shift(parts[item], semitones, tempo)[..., :length]
            if bandwidth is None and semitones < 0:
                bandwidth = parts.new_full((batch, parts.shape[1] - 1), math.inf)
            if bandwidth is not None:
                # Transposing downwards moves the Nyquist frequency down, too.
                highest = bandwidth[item].clamp(max=self.sample_rate / 2) * 2 ** (semitones / 12)
                limited = highest < self.sample_rate / 2
                bandwidth[item] = highest.where(limited, torch.full_like(highest, math.inf))
        return changed, bandwidth

    def _place(self, parts: Tensor, generator: torch.Generator) -> Tensor:
        """Draw gain, channel order and panorama of every source."""
        drawn = torch.rand(*parts.shape[:2], 3, generator=generator).to(parts)
        low, high = self.gain
        gains = low + (high - low) * drawn[..., 0]
        if parts.shape[2] == 2:
            is_mono = (parts[:, :, 0] == parts[:, :, 1]).all(dim=-1)
            panned = pan_gains(self.pan * (2 * drawn[..., 2] - 1))
            panned = panned.where(is_mono[..., None], torch.ones_like(panned))
            parts = swap_channels(parts, drawn[..., 1] < self.swap) * panned[..., None]
        return parts * gains[..., None, None]

    def _remix(
        self, parts: Tensor, bandwidth: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Move each source of some items by a number of items of its own."""
        batch, count = parts.shape[:2]
        chosen = torch.nonzero(torch.rand(batch, generator=generator) < self.remix).flatten()
        if len(chosen) < 2:
            return parts, bandwidth
        origin = torch.arange(batch)[:, None].repeat(1, count)
        for part in range(count):
            order = torch.randperm(len(chosen), generator=generator)
            origin[chosen, part] = chosen[order]
        origin = origin.to(parts.device)
        which = torch.arange(count, device=parts.device)
        mixed = parts[origin, which]
        if bandwidth is not None:
            bandwidth = bandwidth[origin[:, :-1], which[:-1]]
        return mixed, bandwidth
