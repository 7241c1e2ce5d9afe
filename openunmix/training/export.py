"""From a training run to a model folder that every command reads."""

from __future__ import annotations

from pathlib import Path

import torch

from openunmix._version import __version__
from openunmix.checkpoints import SeparatorConfig, save_config, save_network
from openunmix.training.loop import Trainer

__all__ = ["save_model"]


def save_model(folder: Path, trainer: Trainer, dtype: torch.dtype | None = None) -> None:
    """Write the averaged networks of a run as a model folder.

    Parameters
    ----------
    folder : Path
        The folder, made if it does not exist.
    trainer : Trainer
        The run.
    dtype : torch.dtype, optional
        Type of the matrices in the files; ``torch.float16`` halves their size.
    """
    config = trainer.config
    metadata = {
        "version": __version__,
        "step": trainer.step,
        "config": config.to_json(),
        "history": trainer.history,
    }
    for target, network in trainer.averages().items():
        save_network(folder, target, network, metadata, dtype)
    save_config(
        folder,
        SeparatorConfig(
            n_fft=config.n_fft,
            n_hop=config.n_hop,
            sample_rate=float(config.sample_rate),
            channels=config.nb_channels,
            nb_layers=config.nb_layers,
            unidirectional=config.unidirectional,
            bandwidth=config.bandwidth,
        ),
    )
