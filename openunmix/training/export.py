"""From a training run to a model folder that every command reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from openunmix._version import __version__
from openunmix.checkpoints import SeparatorConfig, save_checkpoint, save_folder
from openunmix.training.config import TrainingConfig
from openunmix.training.trainer import Trainer

__all__ = ["save_as_before", "save_model", "separator_config"]


def separator_config(config: TrainingConfig) -> SeparatorConfig:
    """Return what the networks of a run have in common.

    Parameters
    ----------
    config : TrainingConfig
        The settings of the run.

    Returns
    -------
    SeparatorConfig
        The content of ``separator.json``.
    """
    return SeparatorConfig(
        n_fft=config.n_fft,
        n_hop=config.n_hop,
        sample_rate=float(config.sample_rate),
        channels=config.nb_channels,
        nb_layers=config.nb_layers,
        unidirectional=config.unidirectional,
        bandwidth=config.bandwidth,
        bridged=config.bridged,
        shared=config.shared,
    )


def save_model(
    folder: Path,
    trainer: Trainer,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write the averaged networks of a run as a model folder.

    Parameters
    ----------
    folder : Path
        The folder, made if it does not exist.
    trainer : Trainer
        The run.
    metadata : mapping, optional
        What else to write to ``<target>.json``; under ``args``, the options of the run.
    dtype : torch.dtype, optional
        Type of the matrices in the files; ``torch.float16`` halves their size.
    """
    details = {
        "version": __version__,
        "step": trainer.step,
        "config": trainer.config.to_json(),
        **(metadata or {}),
    }
    networks = trainer.averages()
    config = separator_config(trainer.config)
    save_folder(folder, networks, config, dict.fromkeys(networks, details), dtype)


def save_as_before(
    folder: Path, trainer: Trainer, epoch: int, best_loss: float | None, is_best: bool
) -> None:
    """Write ``<target>.chkpnt``, and if best ``<target>.pth``, as openunmix 1.3.0 does.

    Parameters
    ----------
    folder : Path
        An existing folder.
    trainer : Trainer
        The run.
    epoch : int
        Epochs done.
    best_loss : float, optional
        The lowest validation loss so far.
    is_best : bool
        Whether it is that of these weights.
    """
    for target, network in trainer.averages().items():
        state = {
            "epoch": epoch,
            "state_dict": network.state_dict(),
            "best_loss": best_loss,
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.schedule.state_dict(),
        }
        save_checkpoint(state, is_best, folder, target)
