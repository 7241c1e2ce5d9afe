"""The networks to train: new ones, or those of a model that is to be trained further."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openunmix.errors import CheckpointError
from openunmix.model import Architecture, MaskNetwork, share
from openunmix.pretrained import resolve_model
from openunmix.pretrained.folder import load_networks
from openunmix.training.config import TrainingConfig
from openunmix.transforms.fourier import STFTConfig

__all__ = [
    "InputStatistics",
    "architecture_of",
    "input_statistics",
    "new_networks",
    "pretrained_networks",
]


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


def architecture_of(config: TrainingConfig) -> Architecture:
    """Return the architecture of a run."""
    return Architecture(
        **{field.name: getattr(config, field.name) for field in fields(Architecture)}
    )


def new_networks(config: TrainingConfig) -> dict[str, MaskNetwork]:
    """Make networks of random weights.

    Parameters
    ----------
    config : TrainingConfig
        Their targets and architecture.

    Returns
    -------
    dict of str to MaskNetwork
        A network by target; the weights follow from the state of torch's random numbers.
    """
    stft = STFTConfig(config.n_fft, config.n_hop, config.sample_rate)
    networks = {
        target: architecture_of(config).build(stft, config.nb_channels) for target in config.targets
    }
    if config.shared:
        share(networks.values())
    return networks


def pretrained_networks(
    model: str | Path, config: TrainingConfig, targets: Sequence[str] | None = None
) -> tuple[dict[str, MaskNetwork], TrainingConfig]:
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
    networks : dict of str to MaskNetwork
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
    plain = {replace(n.architecture, compression=1.0) for n in networks.values()}
    if len(plain) > 1:
        raise CheckpointError(
            f"the networks of {model} differ in size; train them one by one, with --target"
        )
    for lstm in (m for n in networks.values() for m in n.modules() if isinstance(m, nn.LSTM)):
        lstm.dropout = config.dropout  # means nothing to a single layer
    common, stft = next(iter(plain)), resolved.config.stft
    compression = min(network.architecture.compression for network in networks.values())
    config = replace(
        config,
        targets=tuple(networks),
        hidden_size=common.hidden_size,
        nb_layers=common.nb_layers,
        unidirectional=common.unidirectional,
        bridged=common.bridged,
        shared=common.shared,
        compression=compression,
        nb_channels=resolved.config.channels,
        sample_rate=round(stft.sample_rate),
        n_fft=stft.n_fft,
        n_hop=stft.n_hop,
        bandwidth=common.bandwidth or stft.sample_rate / 2,
    )
    return networks, config
