"""Validation: loss over a dataset, and scores of whole tracks."""

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
from openunmix.training.batches import Examples, collate
from openunmix.training.config import TrainingConfig
from openunmix.training.trainer import Trainer

__all__ = [
    "first_tracks",
    "load_validation_tracks",
    "median_scores",
    "scores_of",
    "separator_of",
    "track_scores",
    "validation_loss",
]


def validation_loss(trainer: Trainer, tests: Examples) -> dict[str, float]:
    """Mean loss of the averaged networks by target over a dataset; processes share its items."""
    processes = trainer.processes
    total = torch.zeros(len(trainer.config.targets), dtype=torch.float64)
    for index in range(processes.rank, len(tests), processes.world_size):
        losses = trainer.evaluate(collate([(index, tests[index])]))
        total += torch.tensor(list(losses.values()))
    total = total.to(processes.device).float()
    processes.average([total])
    means = total * processes.world_size / len(tests)  # a sum again, and the mean over items
    return dict(zip(trainer.config.targets, means.tolist(), strict=True))


def load_validation_tracks(
    root: Path, targets: Sequence[str], sample_rate: int, channels: int = 2
) -> list[TrackAudio]:
    """Decode a folder of track folders; a target that a track lacks is silent.

    Other stems are in the mixture only. Each track is as long as its shortest stem.
    """
    tracks: dict[str, dict[str, Stem]] = {}
    available = find_sources(root)
    sources = [*targets, *(source for source in available if source not in targets)]
    for stem in load_tracks(root, sources, sample_rate):
        tracks.setdefault(stem.track, {})[stem.target] = stem
    stacks = {
        name: torch.stack([to_channels(stem, channels) for stem in _stack(stems, sources)])
        for name, stems in tracks.items()
    }
    return [
        TrackAudio(
            Track(name), sample_rate, stack.sum(dim=0), dict(zip(targets, stack, strict=False))
        )
        for name, stack in stacks.items()
    ]


def _stack(stems: Mapping[str, Stem], sources: Sequence[str]) -> Tensor:
    """Stems of a track: (sources, 2, samples)."""
    samples = min(stem.samples for stem in stems.values())
    silence = torch.zeros(2, samples)
    return torch.stack(
        [stems[source].excerpt(0, samples) if source in stems else silence for source in sources]
    )


def first_tracks(dataset: Dataset[Any], config: TrainingConfig, count: int) -> list[TrackAudio]:
    """First items of a dataset, tracks or excerpts: as many as ``count``, if there are."""
    examples = Examples(dataset, config.targets, config.nb_channels)
    found = [examples[index] for index in range(min(count, len(examples)))]
    return [
        TrackAudio(
            Track(str(index)),
            round(config.stft.sample_rate),
            example.mixture,
            dict(zip(config.targets, example.sources, strict=True)),
        )
        for index, example in enumerate(found)
    ]


def track_scores(
    separator: Separator, tracks: Sequence[TrackAudio], config: StreamConfig | None = None
) -> dict[str, dict[str, float]]:
    """Whole-track SDR in dB by track and target, of what ``umx`` writes; NaN for a silent stem.

    The separator's targets have the order of the tracks' sources.
    """
    scores = {}
    for track in tracks:
        estimates = separate_waveform(separator, track.mixture, config).cpu()
        estimates = estimates[: len(track.sources)]  # without the residual
        values = sdr_mdx21(track.stacked, estimates).tolist()
        scores[track.name] = dict(zip(separator.target_models, values, strict=True))
    return scores


def median_scores(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Median in dB by target over the tracks in which it is not silent; NaN if there are none."""
    targets = next(iter(scores.values()))
    columns = {
        target: torch.tensor([track[target] for track in scores.values()]) for target in targets
    }
    return {
        target: float(column.where(column.isfinite(), torch.nan).nanquantile(0.5))
        for target, column in columns.items()
    }


def scores_of(
    networks: Mapping[str, MaskNetwork], config: TrainingConfig, tracks: Sequence[TrackAudio]
) -> dict[str, float]:
    """Median SDR in dB by target of networks, on tracks."""
    residual = any(track.has_other_sources for track in tracks)
    return median_scores(track_scores(separator_of(networks, config, residual), tracks))


def separator_of(
    networks: Mapping[str, MaskNetwork], config: TrainingConfig, residual: bool = False
) -> Separator:
    """Separator that users get from networks: one EM iteration, in evaluation mode.

    ``residual`` is for mixtures that hold more than these targets.
    """
    return Separator(
        networks,
        niter=1,
        sample_rate=config.stft.sample_rate,
        n_fft=config.stft.n_fft,
        n_hop=config.stft.n_hop,
        nb_channels=config.nb_channels,
        bridged=config.architecture.bridged,
        residual=residual,
    ).eval()
