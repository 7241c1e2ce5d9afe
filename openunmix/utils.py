"""``openunmix.utils`` of openunmix 1.3.0: loaders, preprocessing, training helpers."""

from __future__ import annotations

import math

from torch import Tensor

from openunmix.audio import resample
from openunmix.audio.waveform import Waveform, as_waveform, whole_hertz
from openunmix.pretrained import load_separator, load_target_models
from openunmix.pretrained.folder import save_checkpoint
from openunmix.transforms.fourier import bandwidth_to_max_bin

__all__ = [
    "AverageMeter",
    "EarlyStopping",
    "bandwidth_to_max_bin",
    "load_separator",
    "load_target_models",
    "preprocess",
    "save_checkpoint",
]


def preprocess(
    audio: Waveform, rate: float | None = None, model_rate: float | None = None
) -> Tensor:
    """Convert audio of any usual shape to a batch of stereo waveforms at a model's sample rate.

    Parameters
    ----------
    audio : Tensor [shape=(samples,), (channels, samples) or (batch, channels, samples)], real
        One or two channels, or an array or lists of them. The last two axes may be swapped,
        ``(samples, channels)``, for more than two samples. A mono waveform is duplicated.
    rate : float, optional
        Sample rate of ``audio`` in Hz, required with ``model_rate``.
    model_rate : float, optional
        Sample rate of the result in Hz, unchanged if not given.

    Returns
    -------
    Tensor [shape=(batch, channels=2, samples)], real
        The waveforms, a new tensor or a view.

    Raises
    ------
    ValueError
        If there are more than two channels or other axes than those above, or ``rate`` is
        missing or not a positive number.

    Examples
    --------
    >>> import torch
    >>> preprocess(torch.zeros(44100)).shape
    torch.Size([1, 2, 44100])
    >>> preprocess(torch.zeros(3, 44100, 2), rate=44100, model_rate=16000).shape
    torch.Size([3, 2, 16000])
    """
    waveform = _channels_first(as_waveform(audio))
    if model_rate is not None:
        if rate is None:
            raise ValueError(f"rate is missing: to convert to {model_rate} Hz, give the audio's")
        given, wanted = whole_hertz("rate", rate), whole_hertz("model_rate", model_rate)
        if given != wanted:
            waveform = resample(waveform, given, wanted)
    return waveform.expand(-1, 2, -1)


def _channels_first(audio: Tensor) -> Tensor:
    """Return audio as (batch, channels, samples) with one or two channels."""
    if audio.ndim == 1:
        return audio[None, None]
    if audio.ndim not in (2, 3):
        raise ValueError(
            f"audio has shape {tuple(audio.shape)}, expected (samples,), (channels, samples) or "
            "(batch, channels, samples)"
        )
    waveform = audio[None] if audio.ndim == 2 else audio
    _, rows, columns = waveform.shape
    if rows in (1, 2):
        return waveform
    if columns in (1, 2):
        return waveform.transpose(1, 2)
    raise ValueError(
        f"audio has shape {tuple(audio.shape)}, where neither of the last two axes, channels="
        f"{rows} and samples={columns}, is one or two channels; mix it down to stereo first, and "
        "give a batch of mono waveforms as (batch, 1, samples)"
    )


class AverageMeter:
    """Running average of values, weighted by their counts.

    ``val``, ``avg`` and ``sum`` are the last value, average and sum; ``count`` sums the counts.

    Examples
    --------
    >>> meter = AverageMeter()
    >>> meter.update(1.0)
    >>> meter.update(4.0, n=2)
    >>> meter.val, meter.avg, meter.sum, meter.count
    (4.0, 3.0, 9.0, 3)
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.val = self.avg = self.sum = 0.0
        self.count = 0

    def update(self, val: float, n: int = 1) -> None:
        """Add a value with its count."""
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count if self.count else 0.0


class EarlyStopping:
    """Stopping criterion: a metric has not improved for a number of epochs.

    Parameters
    ----------
    mode : str
        ``"min"`` if smaller is better, ``"max"`` if larger is.
    min_delta : float
        Smallest difference that is an improvement.
    patience : int
        Consecutive epochs without improvement before stopping; 0 never stops. ``num_bad_epochs``
        counts them, ``best`` is the best value so far.

    Examples
    --------
    >>> monitor = EarlyStopping(patience=2)
    >>> [monitor.step(loss) for loss in (1.0, 0.5, 0.6, 0.7)]
    [False, False, False, True]
    """

    def __init__(self, mode: str = "min", min_delta: float = 0, patience: int = 10) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode={mode!r} must be 'min' or 'max'")
        self.mode = mode
        self.min_delta = min_delta
        self.patience = patience
        self.best: float | None = None
        self.num_bad_epochs = 0

    def step(self, metrics: float) -> bool:
        """Add the value of an epoch; return whether to stop, as NaN does at once."""
        if math.isnan(metrics):
            return True
        sign = 1 if self.mode == "max" else -1
        if self.best is None or sign * metrics > sign * self.best + self.min_delta:
            self.best = metrics
            self.num_bad_epochs = 0
            return False
        self.num_bad_epochs += 1
        return 0 < self.patience <= self.num_bad_epochs
