"""Separate audio in memory, or a file, to estimates in memory: the interface of 1.3.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openunmix.audio import AudioSource
from openunmix.audio.waveform import Waveform, as_waveform
from openunmix.model import Separator
from openunmix.predict.file_stream import open_stream
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.pretrained import load_separator
from openunmix.pretrained.registry import DEFAULT_MODEL
from openunmix.utils import preprocess

__all__ = ["separate"]


def separate(
    audio: Waveform | PathLike[str],
    rate: float | None = None,
    model_str_or_path: str | Path = DEFAULT_MODEL,
    targets: Sequence[str] | None = None,
    niter: int = 1,
    residual: bool = False,
    wiener_win_len: int | None = 300,
    aggregate_dict: Mapping[str, Sequence[str]] | None = None,
    separator: Separator | None = None,
    device: str | torch.device | None = None,
    filterbank: str = "torch",
    config: StreamConfig | None = None,
) -> dict[str, Tensor]:
    """Separate a mixture.

    Parameters
    ----------
    audio : Tensor, array, list, str or path
        A waveform of shape (samples,), (channels, samples) or (batch, channels, samples), of
        floating-point numbers of any size, or the path of an audio file.
    rate : float, optional
        Sample rate of a waveform in Hz; the model's by default.
    model_str_or_path, targets, niter, residual, wiener_win_len
        As for :func:`openunmix.pretrained.load_separator`.
    aggregate_dict : mapping of str to list of str, optional
        Names and the targets to sum for each, in place of the targets.
    separator : Separator, optional
        A loaded separator; the arguments from ``model_str_or_path`` to ``wiener_win_len`` are
        ignored then, and it computes on its own device.
    device : str or torch.device, optional
        Where to compute; by default the GPU if there is one, otherwise the CPU.
    filterbank : str
        As for :class:`~openunmix.model.Separator`.
    config : StreamConfig, optional
        Precision and chunk lengths, see :mod:`openunmix.predict.stream`.

    Returns
    -------
    dict of str to Tensor [shape=(batch, channels, samples)], real
        Estimates at the model's sample rate, on the CPU. Those of mono audio have two equal
        channels if the model is stereo, one if it is mono.

    Raises
    ------
    ValueError
        If the waveform has ambiguous axes, no samples, an integer type, or values that are not
        finite in float32; if the rate is no positive whole number.
    TypeError
        If the audio is something else: the content of a file, or None.
    AudioFileError
        If the file cannot be read.
    UnknownModelError, CheckpointError, DownloadError
        If the model cannot be loaded.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(2, 44100)).astype("float32")
    >>> estimates = separate(noise, rate=44100, model_str_or_path="umxs")  # doctest: +SKIP
    >>> sorted(estimates)  # doctest: +SKIP
    ['bass', 'drums', 'other', 'vocals']
    """
    waveform, rate = _load(audio, rate)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if separator is None:
        separator = load_separator(
            model_str_or_path=model_str_or_path,
            targets=targets,
            niter=niter,
            residual=residual,
            wiener_win_len=wiener_win_len,
            device=device,
            pretrained=True,
            filterbank=filterbank,
        )
        separator.freeze()
    model_rate = float(separator.sample_rate)
    batch = preprocess(waveform, model_rate if rate is None else rate, model_rate)
    if separator.nb_channels == 1 and _is_mono(waveform):
        batch = batch[:, :1]
    with _evaluating(separator), torch.device("cpu"):  # whatever torch's default is
        estimates = [separate_waveform(separator, item, config).cpu() for item in batch]
    return separator.to_dict(torch.stack(estimates), aggregate_dict)


@contextmanager
def _evaluating(separator: Separator) -> Iterator[None]:
    """Switch to evaluation mode, and restore the modules that were in training mode."""
    training = [module for module in separator.modules() if module.training]
    separator.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _load(audio: Waveform | PathLike[str], rate: float | None) -> tuple[Tensor, float | None]:
    """Return a waveform, of the shapes that :func:`separate` accepts, and its sample rate."""
    if isinstance(audio, (str, PathLike)):
        with open_stream(AudioSource(Path(audio)), max_channels=2) as stream:
            return torch.from_numpy(np.concatenate(list(stream), axis=1)), stream.sample_rate
    waveform = as_waveform(audio).detach().to("cpu", torch.float32)
    if not waveform.numel():
        raise ValueError(f"audio has shape {tuple(waveform.shape)}; give at least one sample")
    broken = (~waveform.isfinite()).nonzero()
    if len(broken):
        position = tuple(broken[0].tolist())
        value = waveform[position].item()
        raise ValueError(f"audio has the value {value} at position {position}; repair it first")
    return waveform, rate


def _is_mono(waveform: Tensor) -> bool:
    """Whether a waveform has one channel, in any of the accepted shapes."""
    if waveform.ndim == 1:
        return True
    rows, columns = waveform.shape[-2:]
    return rows == 1 or (columns == 1 and rows > 2)
