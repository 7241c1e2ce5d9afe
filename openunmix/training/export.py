"""From a training run to a model folder that every command reads."""

from __future__ import annotations

from pathlib import Path

from openunmix.training.loop import Trainer

__all__ = ["save_model"]


def save_model(folder: Path, trainer: Trainer) -> None:
    """Write the averaged networks; filled in when checkpoints can be written."""
