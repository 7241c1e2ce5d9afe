"""Scores of networks on whole validation songs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.data.recordings import to_channels
from openunmix.data.stems import Stem, find_sources, load_tracks
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import MaskNetwork, Separator
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.training.batches import Examples

__all__ = [
    "ValidationTrack",
    "first_tracks",
    "load_validation_tracks",
    "median_scores",
    "separator_of",
    "track_scores",
]


class ValidationTrack(NamedTuple):
    """A song to validate on.

    Attributes
    ----------
    name : str
        What it is called.
    sources : Tensor [shape=(targets, channels, samples)], real
        Its true stems.
    mixture : Tensor [shape=(channels, samples)], optional
        The mixture; the sum of the stems if not given.
    """

    name: str
    sources: Tensor
    mixture: Tensor | None = None

    @property
    def has_other_sources(self) -> bool:
        """Whether the mixture holds more than these stems, that is, above -60 dB of it."""
        rest = self.mix - self.sources.sum(dim=0)
        return bool(rest.square().sum() > 1e-6 * self.mix.square().sum())

    @property
    def mix(self) -> Tensor:
        """What is to be separated: (channels, samples)."""
        return self.sources.sum(dim=0) if self.mixture is None else self.mixture


def load_validation_tracks(
    root: Path, targets: Sequence[str], sample_rate: int, channels: int = 2
) -> list[ValidationTrack]:
    """Decode a folder of songs.

    Parameters
    ----------
    root : Path
        A folder of track folders, see :func:`openunmix.data.stems.find_tracks`.
    targets : sequence of str
        The sources wanted, in order; one that a song lacks is silent. Its other stems are in
        the mixture only.
    sample_rate : int
        Hz; other files are resampled.
    channels : int
        Audio channels wanted.

    Returns
    -------
    list of ValidationTrack
        The songs, each as long as its shortest stem.

    Raises
    ------
    AudioFileError
        If there are no songs or a file cannot be read.
    """
    songs: dict[str, dict[str, Stem]] = {}
    others = [source for source in find_sources(root) if source not in targets]
    sources = [*targets, *others]
    for stem in load_tracks(root, sources, sample_rate):
        songs.setdefault(stem.track, {})[stem.target] = stem
    stacks = {
        name: torch.stack([to_channels(stem, channels) for stem in _stack(stems, sources)])
        for name, stems in songs.items()
    }
    return [
        ValidationTrack(name, stack[: len(targets)], stack.sum(dim=0))
        for name, stack in stacks.items()
    ]


def _stack(stems: Mapping[str, Stem], sources: Sequence[str]) -> Tensor:
    """Stack a song's stems: (sources, 2, samples)."""
    samples = min(stem.samples for stem in stems.values())
    silence = torch.zeros(2, samples)
    return torch.stack(
        [stems[source].excerpt(0, samples) if source in stems else silence for source in sources]
    )


def first_tracks(
    dataset: Dataset[Any], targets: Sequence[str], channels: int, count: int
) -> list[ValidationTrack]:
    """Take songs from a data set.

    Parameters
    ----------
    dataset : Dataset
        Whole songs, or excerpts, see :class:`~openunmix.training.batches.Examples`.
    targets : sequence of str
        The sources wanted.
    channels : int
        Audio channels wanted.
    count : int
        How many songs to take, from its beginning.

    Returns
    -------
    list of ValidationTrack
        The songs, or fewer if there are no more.
    """
    examples = Examples(dataset, targets, channels)
    found = [examples[index] for index in range(min(count, len(examples)))]
    return [
        ValidationTrack(str(i), example.sources, example.mixture) for i, example in enumerate(found)
    ]


def track_scores(
    separator: Separator, songs: Sequence[ValidationTrack], config: StreamConfig | None = None
) -> dict[str, dict[str, float]]:
    """Whole-track SDR of every song and target, of what the ``umx`` command writes.

    Parameters
    ----------
    separator : Separator
        Its targets, in the order of the songs' sources.
    songs : sequence of ValidationTrack
        The songs, at the separator's sample rate.
    config : StreamConfig, optional
        How to separate.

    Returns
    -------
    dict of str to dict of str to float
        :func:`~openunmix.evaluate.metrics.sdr_mdx21` in dB by song and target, NaN for a silent
        stem.
    """
    scores = {}
    for song in songs:
        estimates = separate_waveform(separator, song.mix, config).cpu()
        estimates = estimates[: len(song.sources)]
        values = sdr_mdx21(song.sources, estimates).tolist()
        scores[song.name] = dict(zip(separator.target_models, values, strict=True))
    return scores


def median_scores(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Median over the songs in which a target sounds.

    Parameters
    ----------
    scores : dict of str to dict of str to float
        What :func:`track_scores` returned.

    Returns
    -------
    dict of str to float
        Decibels by target, NaN for one that never sounds.
    """
    targets = next(iter(scores.values()))
    columns = {
        target: torch.tensor([song[target] for song in scores.values()]) for target in targets
    }
    return {
        target: float(column.where(column.isfinite(), torch.nan).nanquantile(0.5))
        for target, column in columns.items()
    }


def separator_of(
    networks: Mapping[str, MaskNetwork],
    sample_rate: float,
    n_fft: int,
    n_hop: int,
    bridged: bool = False,
    residual: bool = False,
) -> Separator:
    """Return the separator that users get from these networks: one step of EM.

    Parameters
    ----------
    networks : mapping of str to MaskNetwork
        A network by target.
    sample_rate : float
        Hz.
    n_fft, n_hop : int
        Window and hop length of the STFT in samples.
    bridged : bool
        Whether the networks share codes and contexts.
    residual : bool
        Whether mixtures hold more than these targets.

    Returns
    -------
    Separator
        The separator, in evaluation mode.
    """
    first = next(iter(networks.values()))
    return Separator(
        networks,
        niter=1,
        sample_rate=sample_rate,
        n_fft=n_fft,
        n_hop=n_hop,
        nb_channels=first.nb_channels,
        bridged=bridged,
        residual=residual,
    ).eval()
