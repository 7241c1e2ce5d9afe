"""Mixtures made on the fly from a library of stems.

Part of the mixtures are coherent, that is, all stems come from one time of one track; the others
take each stem from anywhere. Levels are drawn, so that a data set's own balance does not matter, or
kept as they were recorded. Everything about a mixture follows from the seed and its index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.audio import resample
from openunmix.data.augment.effects import Studio, produced
from openunmix.data.stems import Stem, StemLibrary

__all__ = ["LEVELS", "MixingConfig", "MixtureDataset"]

LEVELS = ("drawn", "recorded")
# Factors of recorded levels, as in openunmix 1.3.0.
_GAINS = (0.25, 1.25)


@dataclass(frozen=True)
class MixingConfig:
    """How mixtures are made.

    Attributes
    ----------
    duration : float
        Seconds of an excerpt.
    sample_rate : int
        Hz.
    coherent : float
        Probability that the stems come from one time of one track; one that the track lacks
        comes from anywhere.
    silent : float
        Probability that a source is silent, for each source on its own.
    levels : str
        One of :data:`LEVELS`: drawn around ``level``, or those of the files times 0.25 to 1.25.
        Files that are no stems of a track with others have no level to keep; theirs is ``level``.
    level : float
        Mean root mean square of a source in dB relative to full scale.
    balance : dict of str to float
        Mean level of a source in dB relative to ``level``; 0 if not given.
    spread : float
        Standard deviation in dB of the level of a source.
    loudness_spread : float
        Standard deviation in dB of the level of the mixture.
    backed : float
        Probability that a piece of the library's backing takes the place of its sources.
    transpose : float
        Largest change of speed and pitch in semitones. Half of the excerpts are changed, those
        of one time of one track together.
    studios : mapping of str to Studio
        How the recordings of a source are changed, if at all. The studio's change of speed and
        pitch takes the place of ``transpose`` for what comes from anywhere.
    """

    duration: float = 3.0
    sample_rate: int = 44100
    coherent: float = 0.4
    silent: float = 0.06
    levels: str = "drawn"
    level: float = -22.0
    balance: dict[str, float] = field(default_factory=dict)
    spread: float = 4.0
    loudness_spread: float = 4.0
    backed: float = 0.0
    transpose: float = 2.0
    studios: Mapping[str, Studio] = field(default_factory=dict)


class _Choice(NamedTuple):
    """An excerpt to be: its stem, first sample, length, and the stem's rate over the mixture's."""

    stem: Stem
    start: int
    samples: int
    speed: float
    gain: float = 1.0


class MixtureDataset(Dataset[Tensor]):
    """An endless set of mixtures, given as their sources.

    Parameters
    ----------
    library : StemLibrary
        Where stems come from.
    config : MixingConfig
        How they are mixed.
    length : int
        How many mixtures there are.
    seed : int
        Seed of all of them.
    """

    def __init__(self, library: StemLibrary, config: MixingConfig, length: int, seed: int) -> None:
        self.library = library
        self.config = config
        self.length = length
        self.seed = seed
        self.samples = round(config.duration * config.sample_rate)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        """Return mixture ``index`` as its sources: (targets, 2, samples), real."""
        if index >= self.length:
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, index))
        chosen = self._choose(rng)
        loudness = rng.normal(0, self.config.loudness_spread)
        sources = [
            self._vary(self._sum(excerpts), target, loudness, rng)
            for target, excerpts in zip(self.library.targets, chosen, strict=True)
        ]
        return torch.stack(sources)

    def bandwidths(self, index: int) -> dict[str, float]:
        """Tell up to which frequency the sources of a mixture say something.

        Parameters
        ----------
        index : int
            Index of the mixture.

        Returns
        -------
        dict of str to float
            Hz by target; those that are not named have no limit.
        """
        chosen = self._choose(np.random.default_rng((self.seed, index)))
        bands = {
            target: min(choice.stem.bandwidth * choice.speed for choice in excerpts)
            for target, excerpts in zip(self.library.targets, chosen, strict=True)
            if excerpts
        }
        return {target: band for target, band in bands.items() if band < math.inf}

    def _choose(self, rng: np.random.Generator) -> list[list[_Choice]]:
        """Draw the excerpts that each target is the sum of; none of those that are in another."""
        chosen = self._sources(rng)
        backing = self.library.backing
        if not backing or rng.random() >= self.config.backed:
            return chosen
        piece = self._anywhere(rng, backing, self.config.transpose)
        replaced = piece.stem.target.split("+")
        found = dict(zip(self.library.targets, chosen, strict=True))
        found.update({target: [] for target in replaced})
        found[replaced[0]] = [piece]
        return [found[target] for target in self.library.targets]

    def _sources(self, rng: np.random.Generator) -> list[list[_Choice]]:
        """Draw the excerpts of each target."""
        library = self.library
        together: dict[str, _Choice] = {}
        if library.tracks and rng.random() < self.config.coherent:
            longest = [
                max(track.values(), key=lambda stem: stem.samples) for track in library.tracks
            ]
            stems = list(library.tracks[_draw(rng, longest)].values())
            placed = self._place(rng, stems, self.config.transpose)
            together = {choice.stem.target: choice for choice in placed}
        return [self._layers(rng, target, together.get(target)) for target in library.targets]

    def _layers(
        self, rng: np.random.Generator, target: str, first: _Choice | None
    ) -> list[_Choice]:
        """Draw what is left to draw of a target: an excerpt, and perhaps a second one."""
        stems, studio = self.library.by_target[target], self.config.studios.get(target)
        transpose = studio.transpose if studio else self.config.transpose
        chosen = [first or self._anywhere(rng, stems, transpose)]
        if studio and rng.random() < studio.layer:
            second = self._anywhere(rng, stems, transpose)
            chosen.append(second._replace(gain=rng.uniform(0.3, 1.0)))
        return chosen

    def _anywhere(
        self, rng: np.random.Generator, stems: Sequence[Stem], transpose: float
    ) -> _Choice:
        """Draw an excerpt of one of some stems."""
        return self._place(rng, [stems[_draw(rng, stems)]], transpose)[0]

    def _place(
        self, rng: np.random.Generator, stems: Sequence[Stem], transpose: float
    ) -> list[_Choice]:
        """Draw time and speed, the same for all of some stems."""
        semitones = rng.uniform(-1, 1) * transpose * (rng.random() < 0.5)
        samples = round(self.samples * 2 ** (semitones / 12))
        start = _start(rng, min(stem.samples for stem in stems), samples)
        return [_Choice(stem, start, samples, samples / self.samples) for stem in stems]

    def _sum(self, excerpts: Sequence[_Choice]) -> Tensor:
        """Return the sum of some excerpts."""
        return sum(map(self._excerpt, excerpts), torch.zeros(2, self.samples))

    def _excerpt(self, choice: _Choice) -> Tensor:
        """Return an excerpt at the level of its recording, or so that its stem has one of 1."""
        stem = choice.stem
        excerpt = stem.excerpt(choice.start, choice.samples) * choice.gain * self._scale(stem)
        return resample(excerpt, choice.samples, self.samples)

    def _scale(self, stem: Stem) -> float:
        """Return the factor that brings a stem to its level, before gains are drawn."""
        recorded = self.config.levels == "recorded"
        if recorded and stem.track in self.library.shared:
            return 1.0
        sources = 1 + stem.target.count("+")
        level = _factor(self.config.level) if recorded else 1.0
        return level * math.sqrt(sources) / stem.level

    def _vary(
        self, excerpt: Tensor, target: str, loudness: float, rng: np.random.Generator
    ) -> Tensor:
        """Draw a source's level, sides, changes and presence."""
        config = self.config
        gain = self._gain(target, rng) * _factor(loudness)
        swap, silent = rng.random() < 0.5, rng.random() < config.silent
        dry = bool((excerpt[0] == excerpt[1]).all())
        pan = _pan(rng) if dry else torch.ones(2, 1)
        excerpt = (excerpt.flip(0) if swap else excerpt) * pan
        if target in config.studios:
            excerpt = produced(excerpt, dry, config.studios[target], config.sample_rate, rng)
        return excerpt * (0.0 if silent else gain)

    def _gain(self, target: str, rng: np.random.Generator) -> float:
        """Draw the gain of a source."""
        config = self.config
        if config.levels == "recorded":
            return rng.uniform(*_GAINS)
        return _factor(rng.normal(config.level + config.balance.get(target, 0.0), config.spread))


def _factor(decibels: float) -> float:
    """Return a level as a factor of amplitudes."""
    return math.pow(10, decibels / 20)


def _draw(rng: np.random.Generator, stems: Sequence[Stem]) -> int:
    """Draw the index of a stem: its chance grows with its weight and the root of its length."""
    weights = np.array([stem.weight * stem.samples**0.5 for stem in stems])
    return int(rng.choice(len(stems), p=weights / weights.sum()))


def _start(rng: np.random.Generator, available: int, wanted: int) -> int:
    """Draw where an excerpt starts."""
    return int(rng.integers(max(available - wanted, 0) + 1))


def _pan(rng: np.random.Generator) -> Tensor:
    """Channel gains (2, 1) of constant power for a mono source, mostly near the centre."""
    angle = np.pi / 4 + np.clip(rng.normal(0, 0.15), -0.7, 0.7)
    return torch.tensor([[np.cos(angle)], [np.sin(angle)]], dtype=torch.float32) * 2**0.5
