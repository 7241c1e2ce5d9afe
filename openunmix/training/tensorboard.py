"""Scalars, audio and spectrograms of a run for TensorBoard."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from openunmix.data.tracks import TrackAudio
from openunmix.errors import MissingExtraError
from openunmix.training.trainer import Trainer
from openunmix.training.validation import separator_of
from openunmix.transforms.fourier import stft

_DURATION = 10  # seconds of a track that are separated
_ROWS, _COLUMNS = 256, 640  # of a spectrogram
_N_FFT, _LOWEST_FREQUENCY, _RANGE = 4096, 40.0, 80  # samples, Hz, dB


class TensorBoard:
    """Writer to a folder for ``tensorboard --logdir``; separates ``tracks`` after validation."""

    def __init__(self, folder: Path, tracks: Sequence[TrackAudio] = ()) -> None:
        try:
            writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                "--tensorboard needs the package tensorboard; install openunmix[train]"
            ) from error
        self._writer = writer(str(folder))
        self._tracks = list(tracks)
        self._has_references = False

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *exception: object) -> None:
        """Flush and close."""
        self._writer.close()

    def record(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write a record of :class:`~openunmix.training.history.History`."""
        step = record["step"]
        for name in ("loss", "valid_loss", "validation"):
            for target, value in record.get(name, {}).items():
                self._writer.add_scalar(f"{name}/{target}", value, step)
        for name in ("learning_rate", "steps_per_second", "data_loading"):
            self._writer.add_scalar(f"run/{name}", record[name], step)
        if "valid_loss" in record or "validation" in record:
            self._separate(trainer, step)
        self._writer.flush()

    @torch.no_grad()
    def _separate(self, trainer: Trainer, step: int) -> None:
        """Write estimates of the tracks, and once their references."""
        config = trainer.config
        sample_rate = round(config.stft.sample_rate)
        separator = separator_of(trainer.ema_networks(), config)
        samples = _DURATION * sample_rate
        for track in self._tracks:
            estimates = separator(track.mixture[None, :, :samples].to(trainer.device))[0]
            sources = track.stacked[..., :samples]
            for target, source, estimate in zip(config.targets, sources, estimates, strict=True):
                tag = f"{track.name}/{target}"
                if not self._has_references:
                    self._add(f"{tag}, true", source, step, sample_rate)
                self._add(tag, estimate.cpu(), step, sample_rate)
        self._has_references = True

    def _add(self, tag: str, waveform: Tensor, step: int, sample_rate: int) -> None:
        """Write a waveform (channels, samples) as audio and as a spectrogram."""
        mono = waveform.mean(dim=0).clamp(-1, 1)
        self._writer.add_audio(tag, mono, step, sample_rate=sample_rate)
        self._writer.add_image(tag, _spectrogram(waveform, sample_rate), step, dataformats="HW")


def _spectrogram(waveform: Tensor, sample_rate: int) -> Tensor:
    """Levels (rows, columns), 1 at the maximum and 0 at 80 dB below; low frequencies last."""
    magnitude = stft(waveform, _N_FFT, _N_FFT // 4).abs().mean(dim=0)
    lowest = max(1.0, _LOWEST_FREQUENCY * _N_FFT / sample_rate)
    # The frequency axis is logarithmic, as pitch is.
    bins = torch.logspace(math.log10(lowest), math.log10(len(magnitude) - 1), _ROWS)
    picture = magnitude[bins.round().long().flip(0)]
    picture = functional.interpolate(picture[None, None], (_ROWS, _COLUMNS), mode="bilinear")[0, 0]
    level = 20 * (picture / picture.max().clamp(min=1e-8)).clamp(min=1e-4).log10()
    return level / _RANGE + 1
