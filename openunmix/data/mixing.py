"""Mixtures made on the fly from a library of stems.

Part of the mixtures are coherent, that is, all stems come from one time of one track; the others
take each stem from anywhere. Levels are drawn, not inherited, so that a data set's own balance
does not matter. Everything about a mixture follows from the seed and its index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

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
        Probability that all stems come from one time of one track.
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
    """

    duration: float = 3.0
    sample_rate: int = 44100
    coherent: float = 0.4
    silent: float = 0.06
    level: float = -22.0
    balance: dict[str, float] = field(default_factory=dict)
    spread: float = 4.0
    loudness_spread: float = 4.0


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
            self._vary(_levelled(stem, start, self.samples), target, loudness, rng)
            for target, (stem, start) in zip(self.library.targets, chosen, strict=True)
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
            target: stem.bandwidth
            for target, (stem, _) in zip(self.library.targets, chosen, strict=True)
        }
        return {target: band for target, band in bands.items() if band < math.inf}

    def _choose(self, rng: np.random.Generator) -> list[tuple[Stem, int]]:
        """Draw a stem of each target, and the sample at which its excerpt starts."""
        library = self.library
        if bool(library.complete) and rng.random() < self.config.coherent:
            track = library.complete[rng.integers(len(library.complete))]
            stems = [track[target] for target in library.targets]
            start = _start(rng, min(stem.samples for stem in stems), self.samples)
            return [(stem, start) for stem in stems]
        chosen = []
        for target in library.targets:
            stem = _choose(rng, library.by_target[target])
            chosen.append((stem, _start(rng, stem.samples, self.samples)))
        return chosen

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


def _choose(rng: np.random.Generator, stems: Sequence[Stem]) -> Stem:
    """Draw a stem with a probability that grows with the root of its length."""
    weights = np.sqrt([stem.samples for stem in stems])
    return stems[rng.choice(len(stems), p=weights / weights.sum())]


def _start(rng: np.random.Generator, available: int, wanted: int) -> int:
    """Draw where an excerpt starts."""
    return int(rng.integers(max(available - wanted, 0) + 1))


def _levelled(stem: Stem, start: int, samples: int) -> Tensor:
    """Return an excerpt, scaled so that its stem as a whole has a level of 1."""
    return stem.excerpt(start, samples) / stem.level


def _pan(rng: np.random.Generator) -> Tensor:
    """Channel gains (2, 1) of constant power for a mono source, mostly near the centre."""
    angle = np.pi / 4 + np.clip(rng.normal(0, 0.15), -0.7, 0.7)
    return torch.tensor([[np.cos(angle)], [np.sin(angle)]], dtype=torch.float32) * 2**0.5
