"""Records of a run for TensorBoard: losses, scores, rates, and now and then how it sounds."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from openunmix.errors import MissingExtraError
from openunmix.stft import stft
from openunmix.training.trainer import Trainer
from openunmix.training.validation import Song, separator_of

__all__ = ["TensorBoard"]

_SECONDS = 10  # of a song that are separated


class TensorBoard:
    """Writes to a folder that ``tensorboard --logdir`` shows.

    Parameters
    ----------
    folder : Path
        Where to write.
    songs : sequence of Song
        What to separate after each validation.

    Raises
    ------
    MissingExtraError
        If the package tensorboard is not installed.
    """

    def __init__(self, folder: Path, songs: Sequence[Song] = ()) -> None:
        try:
            writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                "--tensorboard needs the package tensorboard; install openunmix[train]"
            ) from error
        self._writer = writer(str(folder))
        self._songs = list(songs)

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is left."""
        self._writer.close()

    def record(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write a record; after a validation, excerpts of songs, too.

        Parameters
        ----------
        trainer : Trainer
            The run.
        record : dict
            See :class:`~openunmix.training.records.History`.
        """
        step = record["step"]
        for name in ("loss", "valid_loss", "validation"):
            for target, value in record.get(name, {}).items():
                self._writer.add_scalar(f"{name}/{target}", value, step)
        for name in ("learning_rate", "steps_per_second", "waiting"):
            self._writer.add_scalar(f"run/{name}", record[name], step)
        if "valid_loss" in record or "validation" in record:
            self._separate(trainer, step)
        self._writer.flush()

    @torch.no_grad()
    def _separate(self, trainer: Trainer, step: int) -> None:
        """Write how the songs are separated, as sound and as pictures."""
        config = trainer.config
        shape = (config.sample_rate, config.n_fft, config.n_hop, config.bridged)
        separator = separator_of(trainer.averages(), *shape)
        for song in self._songs:
            mixture = song.mix[None, :, : _SECONDS * config.sample_rate].to(trainer.device)
            for target, estimate in zip(config.targets, separator(mixture)[0], strict=True):
                tag = f"{song.name}/{target}"
                sound = estimate.mean(dim=0).clamp(-1, 1).cpu()
                self._writer.add_audio(tag, sound, step, sample_rate=config.sample_rate)
                picture = _picture(estimate, config.n_fft, config.n_hop)
                self._writer.add_image(tag, picture, step, dataformats="HW")


def _picture(waveform: Tensor, n_fft: int, n_hop: int) -> Tensor:
    """Levels (bins, frames) from 80 dB below the loudest to 1, low frequencies at the bottom."""
    magnitude = stft(waveform, n_fft, n_hop).abs().mean(dim=0)
    level = 20 * (magnitude / magnitude.max().clamp(min=1e-8)).clamp(min=1e-4).log10()
    return (level / 80 + 1).flip(0).cpu()
