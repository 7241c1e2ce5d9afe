"""The networks to train: new ones, or those of a model to fine-tune."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openunmix.errors import CheckpointError
from openunmix.model import MaskNetwork, share
from openunmix.pretrained import resolve_model
from openunmix.pretrained.folder import load_networks
from openunmix.training.config import TrainingConfig


class InputStatistics(NamedTuple):
    """Mean, and standard deviation of at least 1e-4 of its maximum, of magnitudes: (bins,) each."""

    mean: Tensor
    scale: Tensor


def input_statistics(magnitudes: Iterable[Tensor]) -> InputStatistics:
    """Fit input normalisation to magnitudes (..., bins, frames): statistics per bin.

    Leading axes (channels) are averaged first. ValueError if nothing varies, as in silence.
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


def new_networks(config: TrainingConfig) -> dict[str, MaskNetwork]:
    """Build the networks of a run; their weights follow from torch's random state."""
    networks = {
        target: config.architecture.build(config.stft, config.nb_channels)
        for target in config.targets
    }
    if config.architecture.shared:
        share(networks.values())
    return networks


def pretrained_networks(
    model: str | Path, config: TrainingConfig
) -> tuple[dict[str, MaskNetwork], TrainingConfig]:
    """Load the networks of a model (name or folder) for fine-tuning.

    The settings that are returned have the model's architecture, STFT and channels in place of
    their own; its input normalisation is kept.
    """
    resolved = resolve_model(model, list(config.targets))
    networks = load_networks(resolved.files, resolved.config)
    plain = {replace(net.architecture, compression=1.0, dropout=0.0) for net in networks.values()}
    if len(plain) > 1:
        raise CheckpointError(
            f"the networks of {model} differ in size; train them one by one, with --target"
        )
    dropout = config.architecture.dropout
    for network in networks.values():
        network.architecture = replace(network.architecture, dropout=dropout)
        for lstm in (module for module in network.modules() if isinstance(module, nn.LSTM)):
            lstm.dropout = dropout  # of no effect on a single layer
    compression = min(network.architecture.compression for network in networks.values())
    architecture = replace(plain.pop(), compression=compression, dropout=dropout)
    config = replace(
        config,
        targets=tuple(networks),
        architecture=architecture,
        stft=resolved.config.stft,
        nb_channels=resolved.config.channels,
    )
    return networks, config
