"""Mixtures made on the device, a whole batch at a time, from stems that are kept there.

A GPU takes a thousand excerpts a second, for which the workers of ``umx-train`` are too slow.
Voices come from anywhere. Drums, bass and other of an excerpt may be those of one time of one song.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openunmix.data.augment.batches import resample_to
from openunmix.data.augment.effects import doubled, overdriven, reverberant
from openunmix.data.stems import SILENCE, Stem
from openunmix.training import Batch

__all__ = ["TARGETS", "Mixer"]

TARGETS = ("vocals", "drums", "bass", "other")
_RATE = 44100
_LEVEL = 10 ** (-22 / 20)  # of what is no stem of a song
_TOGETHER = 0.3  # excerpts whose drums, bass and other are of one time of one song
_SILENT = 0.06
_GAINS = (0.25, 1.25)
# Largest change of speed and pitch, in semitones, and how often there is any.
_SEMITONES = {"vocals": 4.0, "drums": 1.5, "bass": 1.5, "other": 1.5}
_CHANGED = 0.6
_PARTS = 4  # of a batch, each with a speed of its own
_LAYERS = {"vocals": 0.25, "other": 0.3}  # how often two excerpts are heard at once
_DRIVES = {"vocals": (0.25, 3.0), "other": (0.2, 6.0)}  # how often overdrive, and how much
# How often voices are doubled and put in a room: what is produced already, and what is dry.
_DOUBLED = (0.12, 0.5)
_REVERBERANT = (0.15, 0.7)
_LONGEST_ROOM = 1.6  # seconds


class _Place(NamedTuple):
    """A song, and how far into it an excerpt begins, from 0 to 1."""

    song: str
    part: float


class _Pool:
    """Stems of one kind, joined into one waveform on the device."""

    def __init__(self, stems: Sequence[Stem], recorded: bool, device: torch.device) -> None:
        stems = [stem for stem in stems if stem.level > SILENCE]
        sides = max(len(stem.waveform) for stem in stems)
        self.waveform = torch.cat([s.waveform.expand(sides, -1) for s in stems], dim=1).to(device)
        self.lengths = np.array([stem.samples for stem in stems])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.scales = np.array([1.0 if recorded else _LEVEL / stem.level for stem in stems])
        self.bandwidths = np.array([stem.bandwidth for stem in stems])
        self.chances = np.sqrt(self.lengths) / np.sqrt(self.lengths).sum()
        self.numbers = {stem.track: number for number, stem in enumerate(stems)}
        self.is_dry = sides == 1

    def excerpts(self, numbers: np.ndarray, parts: np.ndarray, samples: int) -> Tensor:
        """Return excerpts (count, 2, samples), with silence after the end of a stem."""
        lengths = self.lengths[numbers]
        begin = (parts * np.maximum(lengths - samples, 0)).astype(np.int64)
        device = self.waveform.device
        steps = torch.arange(samples, device=device)
        first = torch.from_numpy(self.starts[numbers] + begin).to(device)
        left = torch.from_numpy(lengths - begin).to(device)
        places = (first[:, None] + steps).clamp(max=self.waveform.shape[1] - 1)
        scales = torch.from_numpy(self.scales[numbers] / 32767).float().to(device)
        found = self.waveform[:, places].float().transpose(0, 1) * scales[:, None, None]
        return (found * (steps < left[:, None])[:, None]).expand(-1, 2, -1)


class Mixer:
    """Draws batches of mixtures.

    Parameters
    ----------
    stems : mapping of str to mapping of str to sequence of Stem
        By target, its kinds of stems; those of ``"songs"`` and ``"tunes"`` keep their level.
    shares : mapping of str to mapping of str to float
        How often each kind is drawn.
    duration : float
        Seconds of an excerpt.
    device : torch.device
        Where everything is kept and mixed.
    seed : int
        Seed of everything random.
    """

    def __init__(
        self,
        stems: Mapping[str, Mapping[str, Sequence[Stem]]],
        shares: Mapping[str, Mapping[str, float]],
        duration: float,
        device: torch.device,
        seed: int,
    ) -> None:
        self.samples = round(duration * _RATE)
        self.device = device
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.pools = {
            target: [_Pool(kinds[k], k in ("songs", "tunes"), device) for k in shares[target]]
            for target, kinds in stems.items()
        }
        self.shares = {target: np.array([*of.values()]) for target, of in shares.items()}
        songs = [set(self.pools[target][0].numbers) for target in ("drums", "bass", "other")]
        self.songs = sorted(set.intersection(*songs))

    @torch.no_grad()
    def batch(self, size: int) -> Batch:
        """Draw mixtures with their sources.

        Parameters
        ----------
        size : int
            How many, a multiple of four.

        Returns
        -------
        Batch
            On the device.
        """
        together = {
            item: _Place(self.songs[self.rng.integers(len(self.songs))], self.rng.random())
            for item in np.flatnonzero(self.rng.random(size) < _TOGETHER)
        }
        sources, bandwidths = [], torch.full((size, len(TARGETS)), math.inf)
        for number, target in enumerate(TARGETS):
            places = {} if target == "vocals" else together
            source, is_dry, bandwidth = self._source(target, size, places)
            sources.append(self._mixed(target, source, is_dry))
            if target == "vocals":
                bandwidths[:, number] = torch.from_numpy(bandwidth)
        joined = torch.stack(sources, dim=1)
        return Batch(joined.sum(dim=1), joined, bandwidths.to(self.device), [])

    def _source(
        self, target: str, size: int, places: Mapping[int, _Place]
    ) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Draw a source (size, 2, samples); which items are dry, and their bandwidths."""
        found, part = [], size // _PARTS
        for first in range(0, size, part):
            own = {i - first: places[i] for i in range(first, first + part) if i in places}
            speed = self._speed(target) if not own else 1.0
            # The transform that resamples is fast where the number of samples has small factors.
            samples = round(self.samples * speed / 500) * 500 if speed != 1 else self.samples
            excerpts, is_dry, bandwidths = self._drawn(target, part, samples, own)
            layered = np.flatnonzero(self.rng.random(part) < _LAYERS.get(target, 0.0))
            if len(layered):
                second, _, other = self._drawn(target, len(layered), samples, {})
                chosen = torch.from_numpy(layered).to(self.device)
                excerpts[chosen] += second * self._uniform(0.3, 1.0, len(layered))
                bandwidths[layered] = np.minimum(bandwidths[layered], other)
            excerpts = resample_to(excerpts, self.samples)
            found.append((excerpts, is_dry, bandwidths * samples / self.samples))
        excerpts, dry, bands = zip(*found, strict=True)
        return torch.cat(excerpts), np.concatenate(dry), np.concatenate(bands)

    def _speed(self, target: str) -> float:
        """Draw a speed, which changes the pitch, too."""
        semitones = self.rng.uniform(-1, 1) * _SEMITONES[target]
        return 2 ** (semitones / 12) if self.rng.random() < _CHANGED else 1.0

    def _drawn(
        self, target: str, size: int, samples: int, places: Mapping[int, _Place]
    ) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Draw excerpts (size, 2, samples) from anywhere, or from given places."""
        excerpts = torch.zeros(size, 2, samples, device=self.device)
        is_dry, bandwidths = np.zeros(size, bool), np.full(size, math.inf)
        kinds = self.rng.choice(len(self.shares[target]), size, p=self.shares[target])
        kinds[list(places)] = 0
        for kind, pool in enumerate(self.pools[target]):
            items = np.flatnonzero(kinds == kind)
            if not len(items):
                continue
            numbers = self.rng.choice(len(pool.lengths), len(items), p=pool.chances)
            parts = self.rng.random(len(items))
            for order, item in enumerate(items):
                if item in places:
                    numbers[order] = pool.numbers[places[item].song]
                    parts[order] = places[item].part
            excerpts[torch.from_numpy(items).to(self.device)] = pool.excerpts(
                numbers, parts, samples
            )
            is_dry[items], bandwidths[items] = pool.is_dry, pool.bandwidths[numbers]
        return excerpts, is_dry, bandwidths

    def _mixed(self, target: str, source: Tensor, is_dry: np.ndarray) -> Tensor:
        """Draw sides, changes, levels and presence of a source."""
        size = len(source)
        swapped = self._happens(0.5, size)[:, None, None]
        source = source.flip(1).where(swapped, source)
        is_mono = (source[:, 0] == source[:, 1]).all(dim=-1)
        angle = 0.15 * torch.randn(size, generator=self.generator, device=self.device)
        angle = math.pi / 4 + angle.clamp(-0.7, 0.7)
        sides = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], dim=1)
        source = source * sides.where(is_mono[:, None], torch.ones_like(sides))[..., None]
        if target in _DRIVES:
            source = self._overdriven(source, *_DRIVES[target])
        if target == "vocals":
            source = self._reverberant(self._doubled(source, is_dry), is_dry)
        heard = self._happens(1 - _SILENT, size)[:, None, None]
        return source * self._uniform(*_GAINS, size) * heard

    def _overdriven(self, source: Tensor, chance: float, most: float) -> Tensor:
        """Clip some items softly."""
        clipped = overdriven(source, self._uniform(0.5, most, len(source)))
        return clipped.where(self._happens(chance, len(source))[:, None, None], source)

    def _doubled(self, source: Tensor, is_dry: np.ndarray) -> Tensor:
        """Add some items to themselves a little later, perhaps on the other side."""
        source = source.clone()
        for item in self._chosen(_DOUBLED, is_dry).tolist():
            delay = round(self.rng.uniform(0.008, 0.035) * _RATE)
            apart = self.rng.uniform(0, 0.9) * (self.rng.random() < 0.5)
            source[item] = doubled(source[item], delay, self.rng.uniform(0.4, 1.0), apart)
        return source

    def _reverberant(self, source: Tensor, is_dry: np.ndarray) -> Tensor:
        """Put some items in rooms: noise that falls by 60 dB in 0.3 to 1.6 s."""
        chosen = self._chosen(_REVERBERANT, is_dry)
        if not len(chosen):
            return source
        count, length = len(chosen), round(_LONGEST_ROOM * _RATE)
        time = torch.arange(length, device=self.device) / _RATE
        noise = torch.randn(count, 2, length, generator=self.generator, device=self.device)
        response = noise * torch.exp(-math.log(1000) * time / self._uniform(0.3, 1.6, count))
        response = response * (time >= self._uniform(0.0, 0.04, count))
        response = response / response.square().sum(dim=-1, keepdim=True).sqrt()
        placed = reverberant(source[chosen], response, self._uniform(0.1, 0.6, count))
        return source.index_copy(0, chosen, placed)

    def _chosen(self, chances: tuple[float, float], is_dry: np.ndarray) -> Tensor:
        """Draw items: with the first chance, or the second one where they are dry."""
        drawn = self.rng.random(len(is_dry)) < np.where(is_dry, chances[1], chances[0])
        return torch.from_numpy(np.flatnonzero(drawn)).to(self.device)

    def _uniform(self, low: float, high: float, size: int) -> Tensor:
        """Draw numbers (size, 1, 1)."""
        drawn = torch.rand(size, 1, 1, generator=self.generator, device=self.device)
        return low + (high - low) * drawn

    def _happens(self, chance: float, size: int) -> Tensor:
        """Draw whether something happens: (size,)."""
        return torch.rand(size, generator=self.generator, device=self.device) < chance
