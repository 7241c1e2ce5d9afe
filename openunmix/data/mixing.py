"""Mixtures made on the fly from a library of stems, whole batches on the device of training.

Part of the mixtures are coherent: all stems come from one time of one track; the others take each
stem from anywhere. Levels are random, so that a dataset's own balance does not matter, or the
original ones. Everything about a mixture follows from seed, step and place in the batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openunmix.data.augment.batches import Batch
from openunmix.data.augment.effects import (
    FAST_LENGTHS,
    apply_effects,
    draw_effects,
    pan_gains,
    resample_to,
)
from openunmix.data.mixing_config import LEVELS, MixingConfig
from openunmix.data.stems import (
    FULL_SCALE,
    Stem,
    StemFolder,
    StemLibrary,
    draw_weights,
    load_folders,
)
from openunmix.data.tracks import find_sources

__all__ = ["LEVELS", "Mixer", "MixingConfig", "load_library"]

# Factors of original levels, as in openunmix 1.3.0.
_GAINS = (0.25, 1.25)
# Excerpts at another speed have at least so many samples before the length is rounded.
_LONG = 10_000


def load_library(
    root: Path, config: MixingConfig, targets: Sequence[str], sample_rate: int
) -> StemLibrary:
    """Decode the stems in ``root/train`` and those that the settings add to them.

    Parameters
    ----------
    root : Path
        Folder with ``train/``, which has a folder for each track.
    config : MixingConfig
        Names other folders, and what to leave out.
    targets : sequence of str
        The first of the library's targets; the others are all other sources of the tracks.
    sample_rate : int
        Hz; other files are resampled.

    Returns
    -------
    StemLibrary
        The stems.
    """
    others = sorted(set(find_sources(root / "train", targets)) - set(targets))
    sources = [*targets, *others]
    config.check(sources)
    if config.accompaniment and not others:
        raise ValueError("--accompaniment replaces sources that are no targets; there are none")
    folders = [StemFolder(str(root / "train")), *config.also, *config.extra]
    stems = load_folders(folders, sources, sample_rate, config.exclude)
    others = sorted({stem.target for stem in stems} - set(targets))  # without those all silent
    music = []
    if config.accompaniment:
        folder = config.accompaniment._replace(target="+".join(others), share=None)
        music = load_folders([folder], sources, sample_rate)
    return StemLibrary(stems, [*targets, *others], music)


class _Excerpt(NamedTuple):
    """Which part of a stem to take: at another speed, ``samples`` become those of the mixture."""

    stem: Stem
    start: int
    samples: int
    gain: float = 1.0


class _Plan(NamedTuple):
    """What was drawn for a batch, by source and item."""

    excerpts: list[list[list[_Excerpt]]]  # those whose sum the source is
    gains: np.ndarray  # (sources, items, 2) of both channels, 0 if silent
    is_mono: np.ndarray  # (sources, items)
    swapped: np.ndarray  # (sources, items), whether left and right change places


class Mixer:
    """Makes batches of mixtures on a device; a batch follows from seed and step.

    Parameters
    ----------
    library : StemLibrary
        The stems.
    config : MixingConfig
        How they are mixed.
    targets : sequence of str
        The sources that batches have; others are in the mixtures only.
    samples, batch_size : int
        Length of an excerpt, and mixtures of a batch.
    sample_rate, seed, channels : int
        Rate in Hz; seed of everything random; 1 or 2 channels.
    """

    def __init__(
        self,
        library: StemLibrary,
        config: MixingConfig,
        targets: Sequence[str],
        samples: int,
        batch_size: int,
        sample_rate: int = 44100,
        seed: int = 42,
        channels: int = 2,
    ) -> None:
        self.library = library
        self.config = config
        self.order = [library.targets.index(target) for target in targets]
        # A slice is a view, other indices are a copy.
        first = self.order == [*range(len(self.order))]
        self._chosen = slice(len(self.order)) if first else self.order
        self.samples = samples
        self.batch_size = batch_size
        self.sample_rate = sample_rate
        self.seed = seed
        self.channels = channels
        self._fast = FAST_LENGTHS[(samples / 2 <= FAST_LENGTHS) & (2 * samples >= FAST_LENGTHS)]
        self._chances = {target: _chances(of) for target, of in library.by_target.items()}
        self._of_tracks = _chances(
            [max(track.values(), key=lambda stem: stem.samples) for track in library.tracks]
        )
        self._of_accompaniment = _chances(library.accompaniment)

    def to(self, device: torch.device | str) -> Mixer:
        """Return a copy that keeps all stems, and mixes, on a device."""
        moved = copy.copy(self)
        moved.library = self.library.to(device)
        return moved

    @torch.no_grad()
    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """Make the batch of a step, or the share of process ``rank`` of ``world_size`` in it."""
        rng = np.random.default_rng((self.seed, step))
        plan = self._plan(rng)
        items = np.arange(rank, self.batch_size, world_size)
        sources = self._sources(plan, items)
        for source, target in enumerate(self.library.targets):
            if target in self.config.effects:
                effects = self.config.effects[target]
                draws = draw_effects(effects, plan.is_mono[source], rng).take(items)
                sources[:, source] = apply_effects(sources[:, source], draws, self.sample_rate)
        if self.channels == 1:
            sources = sources.mean(dim=2, keepdim=True)
        bandwidth = self._bandwidth(plan, items)
        return Batch(
            sources.sum(dim=1),
            sources[:, self._chosen],
            None if bandwidth is None else bandwidth.to(sources.device),
            (step * self.batch_size + items).tolist(),
        )

    def _plan(self, rng: np.random.Generator) -> _Plan:
        """Draw stems, places, speeds, levels and panorama of a whole batch."""
        config, library, size = self.config, self.library, self.batch_size
        together = self._coherent(rng)
        excerpts = [self._layers(rng, target, together) for target in library.targets]
        if library.accompaniment:
            self._accompany(rng, excerpts)
        shape = len(library.targets), size
        if config.levels == "original":
            gains = rng.uniform(*_GAINS, shape)
        else:
            means = [config.level + config.balance.get(target, 0.0) for target in library.targets]
            gains = _factor(rng.normal(np.array(means)[:, None], config.spread, shape))
        # One factor for all sources of an item: the level of the mixture, not its balance.
        gains *= _factor(rng.normal(0.0, config.loudness_spread, size))
        gains *= rng.random(shape) >= config.silent
        is_mono = np.array(
            [[all(len(e.stem.waveform) == 1 for e in of) for of in source] for source in excerpts]
        )
        # Mono is panned, mostly near the centre: a standard deviation of 8.6 degrees of 90.
        positions = rng.normal(0, 0.19, shape).clip(-0.9, 0.9) * is_mono
        sides = pan_gains(torch.from_numpy(positions)).numpy()
        return _Plan(excerpts, gains[..., None] * sides, is_mono, rng.random(shape) < 0.5)

    def _coherent(self, rng: np.random.Generator) -> list[dict[str, _Excerpt]]:
        """Draw excerpts by target of one time of one track, for some items."""
        size, tracks = self.batch_size, self.library.tracks
        if not tracks:
            return [{}] * size
        numbers = rng.choice(len(tracks), size, p=self._of_tracks)
        places, lengths = rng.random(size), self._lengths(rng, self.config.transpose)
        coherent = rng.random(size) < self.config.coherent
        found: list[dict[str, _Excerpt]] = []
        for item, number in enumerate(numbers):
            stems = [
                stem
                for stem in tracks[number].values()
                if coherent[item] and stem.target not in self.config.independent
            ]
            # All stems must have the place, so that they stay in time with each other.
            shortest = min((stem.samples for stem in stems), default=0)
            start = _start(places[item], shortest, lengths[item])
            found.append({s.target: _Excerpt(s, start, lengths[item]) for s in stems})
        return found

    def _layers(
        self, rng: np.random.Generator, target: str, together: list[dict[str, _Excerpt]]
    ) -> list[list[_Excerpt]]:
        """Draw the excerpts of a target for every item: one, or two if they are layered."""
        config, stems = self.config, self.library.by_target[target]
        effects = config.effects.get(target)
        semitones = effects.transpose if effects else config.transpose
        semitones = config.transpose_source.get(target, semitones)
        chances = self._chances[target]
        first = self._anywhere(rng, stems, chances, semitones)
        chosen = [[of.get(target, one)] for of, one in zip(together, first, strict=True)]
        if effects and effects.layer:
            seconds = self._anywhere(rng, stems, chances, semitones)
            gains = rng.uniform(0.3, 1.0, self.batch_size)
            for item in np.flatnonzero(rng.random(self.batch_size) < effects.layer):
                chosen[item].append(seconds[item]._replace(gain=float(gains[item])))
        return chosen

    def _accompany(self, rng: np.random.Generator, excerpts: list[list[list[_Excerpt]]]) -> None:
        """Replace sources by accompaniment in some items."""
        folder, targets = self.config.accompaniment, self.library.targets
        share = 1.0 if folder is None or folder.share is None else folder.share
        pieces = self._anywhere(
            rng, self.library.accompaniment, self._of_accompaniment, self.config.transpose
        )
        for item in np.flatnonzero(rng.random(self.batch_size) < share):
            piece = pieces[item]
            replaced = [targets.index(target) for target in piece.stem.target.split("+")]
            for source in replaced:
                excerpts[source][item] = []
            excerpts[replaced[0]][item] = [piece]

    def _anywhere(
        self, rng: np.random.Generator, stems: Sequence[Stem], chances: np.ndarray, semitones: float
    ) -> list[_Excerpt]:
        """Draw an excerpt of one of some stems for every item."""
        numbers = rng.choice(len(stems), self.batch_size, p=chances)
        places, lengths = rng.random(self.batch_size), self._lengths(rng, semitones)
        return [
            _Excerpt(stems[number], _start(place, stems[number].samples, length), length)
            for number, place, length in zip(numbers, places, lengths, strict=True)
        ]

    def _lengths(self, rng: np.random.Generator, semitones: float) -> list[int]:
        """Draw the length in samples of every item's excerpt, half of them at another speed."""
        size = self.batch_size
        drawn = rng.uniform(-1, 1, size) * semitones * (rng.random(size) < 0.5)
        lengths = np.round(self.samples * 2 ** (drawn / 12)).astype(int)
        if self.samples >= _LONG:
            # The FFT that resamples is fast where the length has small factors only.
            nearest = self._fast[np.abs(lengths[:, None] - self._fast).argmin(axis=1)]
            lengths = np.where(drawn == 0, self.samples, nearest)
        return [int(length) for length in lengths]

    def _sources(self, plan: _Plan, items: np.ndarray) -> Tensor:
        """Add up the excerpts of all sources of some items: (items, sources, 2, samples)."""
        shape = len(items), len(self.library.targets), 2, self.samples
        mixed = torch.zeros(shape, device=self.library.device)
        # Excerpts of one length and number of channels are resampled together.
        alike: dict[tuple[int, int], list[tuple[int, int, _Excerpt]]] = {}
        for row, item in enumerate(items):
            for source, excerpts in enumerate(plan.excerpts):
                if plan.gains[source, item].any():
                    for excerpt in excerpts[item]:
                        key = excerpt.samples, len(excerpt.stem.waveform)
                        alike.setdefault(key, []).append((row, source, excerpt))
        for (samples, channels), placed in alike.items():
            waveforms = self._resampled([excerpt for _, _, excerpt in placed], samples)
            for (row, source, excerpt), waveform in zip(placed, waveforms, strict=True):
                swapped = bool(plan.swapped[source, items[row]])
                gains = plan.gains[source, items[row]] * self._scale(excerpt.stem) * excerpt.gain
                for channel, gain in enumerate(gains.tolist()):
                    # The other channel if they are swapped; the only one of a mono stem.
                    part = waveform[(channel ^ swapped) % channels]
                    # Converts, scales and adds in one pass over memory, which is what a CPU spends.
                    mixed[row, source, channel, : len(part)].add_(part, alpha=gain)
        return mixed

    def _resampled(self, excerpts: Sequence[_Excerpt], samples: int) -> Sequence[Tensor]:
        """Cut excerpts of one length out of their stems, as (channels, up to samples of mixtures).

        A stem that ends earlier gives less, which stands for silence.
        """
        parts = [e.stem.waveform[:, e.start : e.start + samples] for e in excerpts]
        if samples == self.samples:
            return parts
        shape = len(parts), len(parts[0]), samples
        padded = torch.empty(shape, device=self.library.device)
        for row, part in zip(padded, parts, strict=True):
            row[:, : part.shape[1]] = part
            row[:, part.shape[1] :] = 0
        return resample_to(padded, self.samples).unbind()

    def _scale(self, stem: Stem) -> float:
        """Return the factor that brings the integers of a stem to its level, before gains."""
        original = self.config.levels == "original"
        if original and stem.track in self.library.shared:
            return stem.scale / FULL_SCALE
        sources = 1 + stem.target.count("+")
        level = float(_factor(self.config.level)) if original else 1.0
        # Powers of independent sources add up: n of them are louder by the root of n.
        return level * math.sqrt(sources) / stem.level / FULL_SCALE * stem.scale

    def _bandwidth(self, plan: _Plan, items: np.ndarray) -> Tensor | None:
        """Bandwidth (items, targets) of the targets in Hz, None if there is no limit."""
        # Played at another speed, the bandwidth scales with all frequencies.
        found = [
            [
                min(
                    (e.stem.bandwidth * e.samples / self.samples for e in plan.excerpts[j][item]),
                    default=math.inf,
                )
                for j in self.order
            ]
            for item in items
        ]
        bandwidth = torch.tensor(found)
        return bandwidth if bandwidth.isfinite().any() else None


def _factor(decibels: float | np.ndarray) -> np.ndarray:
    """Return levels as factors of amplitudes."""
    return np.power(10.0, np.asarray(decibels) / 20)


def _chances(stems: Sequence[Stem]) -> np.ndarray:
    """Probabilities of stems: they grow with their weight and the root of their length."""
    weights = draw_weights(stems)
    return weights / weights.sum() if len(weights) else weights


def _start(place: float, available: int, wanted: int) -> int:
    """First sample of an excerpt at a place between 0 and 1 of what is available."""
    return int(place * (max(available - wanted, 0) + 1))
