"""Validation: loss over a dataset, and scores of whole tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from openunmix.data.recordings import to_channels
from openunmix.data.stems import Stem, StemFolder, load_folder
from openunmix.data.tracks import Track, TrackAudio, find_sources, total
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import MaskNetwork, Separator
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.training.batches import Examples, collate
from openunmix.training.config import TrainingConfig
from openunmix.training.trainer import Trainer


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
    available = find_sources(root, targets)
    sources = [*targets, *(source for source in available if source not in targets)]
    for stem in load_folder(StemFolder(str(root)), sources, sample_rate):
        tracks.setdefault(stem.track, {})[stem.target] = stem
    found = []
    for name, stems in tracks.items():
        samples = min(stem.samples for stem in stems.values())
        silence = torch.zeros(channels, samples)
        waveforms = {
            source: to_channels(stem.excerpt(0, samples), channels)
            for source, stem in stems.items()
        }
        wanted = {target: waveforms.get(target, silence) for target in targets}
        found.append(TrackAudio(Track(name), sample_rate, total(waveforms.values()), wanted))
    return found


def first_tracks(dataset: Dataset[Any], config: TrainingConfig, count: int) -> list[TrackAudio]:
    """First items of a dataset, tracks or excerpts: as many as ``count``, if there are."""
    examples = Examples(dataset, config.targets, config.nb_channels)
    sample_rate = round(config.stft.sample_rate)
    tracks = []
    for index in range(min(count, len(examples))):
        mixture, sources, _ = examples[index]
        named = dict(zip(config.targets, sources, strict=True))
        tracks.append(TrackAudio(Track(str(index)), sample_rate, mixture, named))
    return tracks


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
    table = torch.tensor([[track[target] for target in targets] for track in scores.values()])
    medians = table.where(table.isfinite(), torch.nan).nanquantile(0.5, dim=0)
    return dict(zip(targets, medians.tolist(), strict=True))


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
