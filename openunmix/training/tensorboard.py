"""Records of a run for TensorBoard: losses, scores, rates, and now and then how it sounds."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from openunmix.errors import MissingExtraError
from openunmix.stft import stft
from openunmix.training.trainer import Trainer
from openunmix.training.validation import Song, separator_of

__all__ = ["TensorBoard"]

_SECONDS = 10  # of a song that are separated
# Pictures: rows and columns, samples of a window, and the lowest frequency in Hz.
_SIZE, _WINDOW, _LOWEST = (256, 640), 4096, 40.0


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
        self._has_references = False

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
        samples = _SECONDS * config.sample_rate
        for song in self._songs:
            estimates = separator(song.mix[None, :, :samples].to(trainer.device))[0]
            sources = song.sources[..., :samples]
            for target, source, estimate in zip(config.targets, sources, estimates, strict=True):
                tag = f"{song.name}/{target}"
                if not self._has_references:
                    self._add(f"{tag}, true", source, step, config.sample_rate)
                self._add(tag, estimate.cpu(), step, config.sample_rate)
        self._has_references = True

    def _add(self, tag: str, waveform: Tensor, step: int, sample_rate: int) -> None:
        """Write a waveform (channels, samples)."""
        sound = waveform.mean(dim=0).clamp(-1, 1)
        self._writer.add_audio(tag, sound, step, sample_rate=sample_rate)
        self._writer.add_image(tag, _picture(waveform, sample_rate), step, dataformats="HW")


def _picture(waveform: Tensor, sample_rate: int) -> Tensor:
    """Levels (rows, columns) from 80 dB below the loudest, 0, to that, 1.

    Frequencies rise from the bottom to the top by equal ratios, as musical notes do.
    """
    magnitude = stft(waveform, _WINDOW, _WINDOW // 4).abs().mean(dim=0)
    lowest = max(1.0, _LOWEST * _WINDOW / sample_rate)
    bins = torch.logspace(math.log10(lowest), math.log10(len(magnitude) - 1), _SIZE[0])
    picture = magnitude[bins.round().long().flip(0)]
    picture = functional.interpolate(picture[None, None], _SIZE, mode="bilinear")[0, 0]
    level = 20 * (picture / picture.max().clamp(min=1e-8)).clamp(min=1e-4).log10()
    return level / 80 + 1
