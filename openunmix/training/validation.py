"""Scores of networks on whole validation songs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.data.recordings import to_channels
from openunmix.data.stems import Stem, load_tracks
from openunmix.data.tracks import Track, TrackAudio, find_sources
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import MaskNetwork, Separator
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.training.batches import Examples

__all__ = [
    "first_tracks",
    "load_validation_tracks",
    "median_scores",
    "separator_of",
    "track_scores",
]


def load_validation_tracks(
    root: Path, targets: Sequence[str], sample_rate: int, channels: int = 2
) -> list[TrackAudio]:
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
    list of TrackAudio
        The songs, each as long as its shortest stem.

    Raises
    ------
    AudioFileError
        If there are no songs or a file cannot be read.
    """
    songs: dict[str, dict[str, Stem]] = {}
    available = find_sources(root)
    sources = [*targets, *(source for source in available if source not in targets)]
    for stem in load_tracks(root, sources, sample_rate):
        songs.setdefault(stem.track, {})[stem.target] = stem
    stacks = {
        name: torch.stack([to_channels(stem, channels) for stem in _stack(stems, sources)])
        for name, stems in songs.items()
    }
    return [
        TrackAudio(
            Track(name), sample_rate, stack.sum(dim=0), dict(zip(targets, stack, strict=False))
        )
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
    dataset: Dataset[Any], targets: Sequence[str], sample_rate: int, channels: int, count: int
) -> list[TrackAudio]:
    """Take songs from a dataset.

    Parameters
    ----------
    dataset : Dataset
        Whole songs, or excerpts, see :class:`~openunmix.training.batches.Examples`.
    targets : sequence of str
        The sources wanted.
    sample_rate : int
        Hz, that of the dataset.
    channels : int
        Audio channels wanted.
    count : int
        How many songs to take, from its beginning.

    Returns
    -------
    list of TrackAudio
        The songs, or fewer if there are no more.
    """
    examples = Examples(dataset, targets, channels)
    found = [examples[index] for index in range(min(count, len(examples)))]
    return [
        TrackAudio(
            Track(str(index)),
            sample_rate,
            example.mixture,
            dict(zip(targets, example.sources, strict=True)),
        )
        for index, example in enumerate(found)
    ]


def track_scores(
    separator: Separator, songs: Sequence[TrackAudio], config: StreamConfig | None = None
) -> dict[str, dict[str, float]]:
    """Whole-track SDR of every song and target, of what the ``umx`` command writes.

    Parameters
    ----------
    separator : Separator
        Its targets, in the order of the songs' sources.
    songs : sequence of TrackAudio
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
        estimates = separate_waveform(separator, song.mixture, config).cpu()
        estimates = estimates[: len(song.sources)]
        values = sdr_mdx21(song.stacked, estimates).tolist()
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
