"""Mixtures made on the fly from a library of stems.

Part of the mixtures are coherent, that is, all stems come from one time of one track; the others
take each stem from anywhere. Levels are drawn, not inherited, so that a data set's own balance
does not matter. Everything about a mixture follows from the seed and its index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.audio import resample
from openunmix.data.stems import Stem, StemLibrary

__all__ = ["MixingConfig", "MixtureDataset"]


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
    """

    duration: float = 3.0
    sample_rate: int = 44100
    coherent: float = 0.4
    silent: float = 0.06
    level: float = -22.0
    balance: dict[str, float] = field(default_factory=dict)
    spread: float = 4.0
    loudness_spread: float = 4.0
    backed: float = 0.0
    transpose: float = 2.0


class _Choice(NamedTuple):
    """An excerpt to be: its stem, first sample, length, and the stem's rate over the mixture's."""

    stem: Stem
    start: int
    samples: int
    speed: float


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
            self._vary(self._excerpt(choice), target, loudness + _many(choice), rng)
            for target, choice in zip(self.library.targets, chosen, strict=True)
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
            target: choice.stem.bandwidth * choice.speed
            for target, choice in zip(self.library.targets, chosen, strict=True)
            if choice is not None
        }
        return {target: band for target, band in bands.items() if band < math.inf}

    def _choose(self, rng: np.random.Generator) -> list[_Choice | None]:
        """Draw an excerpt of each target, or none of those that are in another one."""
        chosen = self._sources(rng)
        backing = self.library.backing
        if not backing or rng.random() >= self.config.backed:
            return chosen
        piece = self._anywhere(rng, backing)
        replaced = piece.stem.target.split("+")
        found = dict(zip(self.library.targets, chosen, strict=True))
        found.update({**dict.fromkeys(replaced), replaced[0]: piece})
        return [found[target] for target in self.library.targets]

    def _sources(self, rng: np.random.Generator) -> list[_Choice | None]:
        """Draw an excerpt of each target."""
        library = self.library
        together: dict[str, _Choice] = {}
        if library.tracks and rng.random() < self.config.coherent:
            longest = [
                max(track.values(), key=lambda stem: stem.samples) for track in library.tracks
            ]
            stems = list(library.tracks[_draw(rng, longest)].values())
            together = {choice.stem.target: choice for choice in self._place(rng, stems)}
        return [
            together.get(target) or self._anywhere(rng, library.by_target[target])
            for target in library.targets
        ]

    def _anywhere(self, rng: np.random.Generator, stems: Sequence[Stem]) -> _Choice:
        """Draw an excerpt of one of some stems."""
        return self._place(rng, [stems[_draw(rng, stems)]])[0]

    def _place(self, rng: np.random.Generator, stems: Sequence[Stem]) -> list[_Choice]:
        """Draw time and speed, the same for all of some stems."""
        semitones = rng.uniform(-1, 1) * self.config.transpose * (rng.random() < 0.5)
        samples = round(self.samples * 2 ** (semitones / 12))
        start = _start(rng, min(stem.samples for stem in stems), samples)
        return [_Choice(stem, start, samples, samples / self.samples) for stem in stems]

    def _excerpt(self, choice: _Choice | None) -> Tensor:
        """Return an excerpt, scaled so that its stem as a whole has a level of 1."""
        if choice is None:
            return torch.zeros(2, self.samples)
        excerpt = choice.stem.excerpt(choice.start, choice.samples) / choice.stem.level
        return resample(excerpt, choice.samples, self.samples)

    def _vary(
        self, excerpt: Tensor, target: str, loudness: float, rng: np.random.Generator
    ) -> Tensor:
        """Draw a source's level, sides and presence."""
        config = self.config
        mean = config.level + config.balance.get(target, 0.0) + loudness
        gain = 10 ** (rng.normal(mean, config.spread) / 20)
        swap, silent = rng.random() < 0.5, rng.random() < config.silent
        pan = _pan(rng) if bool((excerpt[0] == excerpt[1]).all()) else torch.ones(2, 1)
        excerpt = excerpt.flip(0) if swap else excerpt
        return excerpt * pan * (0.0 if silent else gain)


def _many(choice: _Choice | None) -> float:
    """By how many dB an excerpt of several sources is louder than that of one."""
    return 0.0 if choice is None else 10 * math.log10(1 + choice.stem.target.count("+"))


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
