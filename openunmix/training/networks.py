"""The networks to train: new ones, or those of a model that is to be trained further."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from openunmix.errors import CheckpointError
from openunmix.model import OpenUnmix, share
from openunmix.pretrained import resolve_model
from openunmix.pretrained.folder import load_networks
from openunmix.training.config import TrainingConfig
from openunmix.transforms.fourier import bandwidth_to_max_bin

__all__ = ["InputStatistics", "input_statistics", "new_networks", "pretrained_networks"]


class InputStatistics(NamedTuple):
    """Statistics of magnitudes per bin.

    Attributes
    ----------
    mean, scale : Tensor [shape=(bins,)], real
        Mean, and standard deviation, floored at a ten-thousandth of its largest value.
    """

    mean: Tensor
    scale: Tensor


def input_statistics(magnitudes: Iterable[Tensor]) -> InputStatistics:
    """Mean and standard deviation per bin over all other axes.

    Parameters
    ----------
    magnitudes : iterable of Tensor [shape=(..., bins, frames)], real
        Magnitudes of mixtures; each is averaged over its leading axes (channels) first.

    Returns
    -------
    InputStatistics
        Mean and scale.

    Raises
    ------
    ValueError
        If nothing varies, because there are no magnitudes or all are silent.
    """
    count, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
    for magnitude in magnitudes:
        mono = magnitude.double().reshape(-1, *magnitude.shape[-2:]).mean(dim=0)
        count += mono.shape[-1]
        total = total + mono.sum(dim=-1)
        squares = squares + mono.square().sum(dim=-1)
    mean = total / max(count, 1)
    scale = (squares / max(count, 1) - mean.square()).clamp(min=0).sqrt()
    if not scale.max() > 0:
        raise ValueError(f"nothing varies in {count} frames; give mixtures that are not silent")
    return InputStatistics(mean.float(), scale.clamp(min=1e-4 * float(scale.max())).float())


def new_networks(config: TrainingConfig) -> dict[str, OpenUnmix]:
    """Make networks of random weights.

    Parameters
    ----------
    config : TrainingConfig
        Their targets and architecture.

    Returns
    -------
    dict of str to OpenUnmix
        A network by target; the weights follow from the state of torch's random numbers.
    """
    max_bin = bandwidth_to_max_bin(config.sample_rate, config.n_fft, config.bandwidth)
    networks = {
        target: OpenUnmix(
            nb_bins=config.n_fft // 2 + 1,
            nb_channels=config.nb_channels,
            hidden_size=config.hidden_size,
            nb_layers=config.nb_layers,
            unidirectional=config.unidirectional,
            max_bin=max_bin,
            dropout=config.dropout,
            input_power=config.input_power,
        )
        for target in config.targets
    }
    if config.shared:
        share(networks.values())
    return networks


def pretrained_networks(
    model: str | Path, config: TrainingConfig, targets: Sequence[str] | None = None
) -> tuple[dict[str, OpenUnmix], TrainingConfig]:
    """Load the networks of a model, to train them further.

    Parameters
    ----------
    model : str or Path
        A known name, which is downloaded if need be, or the path of a model folder.
    config : TrainingConfig
        The settings of the run.
    targets : sequence of str, optional
        The targets to train; those of ``config`` if not given.

    Returns
    -------
    networks : dict of str to OpenUnmix
        A network by target, with the model's architecture, input statistics and weights.
    config : TrainingConfig
        The settings, with the model's architecture, STFT and sample rate in place of theirs.

    Raises
    ------
    UnknownModelError, CheckpointError, DownloadError
        If the model cannot be loaded, or its networks are not of one architecture.
    """
    resolved = resolve_model(model, list(targets or config.targets))
    networks = load_networks(resolved.files, resolved.config)
    shapes = {(n.hidden_size, n.nb_layers, n.unidirectional, n.nb_bins) for n in networks.values()}
    if len(shapes) > 1:
        raise CheckpointError(
            f"the networks of {model} differ in size; train them one by one, with --target"
        )
    for network in networks.values():
        network.lstm.dropout = config.dropout  # means nothing to a single layer
    first = next(iter(networks.values()))
    common = resolved.config
    sample_rate = round(common.sample_rate)
    config = replace(
        config,
        targets=tuple(networks),
        hidden_size=first.hidden_size,
        nb_layers=first.nb_layers,
        unidirectional=first.unidirectional,
        bridged=common.bridged,
        shared=common.shared,
        input_power=min(network.architecture["input_power"] for network in networks.values()),
        nb_channels=common.channels,
        sample_rate=sample_rate,
        n_fft=common.n_fft,
        n_hop=common.n_hop,
        bandwidth=min((first.nb_bins - 0.5) / common.n_fft, 0.5) * sample_rate,
    )
    return networks, config
