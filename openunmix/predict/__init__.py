"""From audio in memory, or a file, to its sources in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openunmix.audio import AudioSource
from openunmix.model import Separator
from openunmix.predict.file_stream import open_stream
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.pretrained import load_separator
from openunmix.pretrained.registry import DEFAULT_MODEL
from openunmix.utils import preprocess

__all__ = ["separate"]


def separate(
    audio: Tensor | np.ndarray | str | Path,
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
    audio : Tensor, ndarray, str or Path
        A waveform of shape (samples,), (channels, samples) or (batch, channels, samples), or the
        path of an audio file.
    rate : float, optional
        Sample rate of a waveform in Hz; the model's rate if not given.
    model_str_or_path : str or Path
        Name of a published model, or a model folder.
    targets : sequence of str, optional
        The targets to estimate; all if not given.
    niter : int
        Iterations of expectation maximization.
    residual : bool
        Whether to add what the targets leave of the mixture, as a last target.
    wiener_win_len : int or None
        Frames that are filtered together; None for the whole signal.
    aggregate_dict : mapping of str to list of str, optional
        New names and the targets to sum for each, in place of the targets.
    separator : Separator, optional
        A separator to use instead of loading one; the arguments from ``model_str_or_path`` to
        ``wiener_win_len`` are ignored then, and so is ``device``: it computes where it is.
    device : str or torch.device, optional
        Where to compute; the GPU if there is one, otherwise the CPU, if not given.
    filterbank : str
        As for :class:`~openunmix.model.Separator`.
    config : StreamConfig, optional
        Precision and block sizes, see :mod:`openunmix.predict.stream`.

    Returns
    -------
    dict of str to Tensor [shape=(batch, channels, samples)], real
        Estimates at the model's sample rate, on the CPU. Mono audio gives two equal channels if
        the model is stereo, one if it is mono.

    Raises
    ------
    ValueError
        If the axes of the waveform cannot be told apart, it is empty, not of floating point, or
        has values that are not finite.
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
    waveform, rate = _load(audio, rate)
    model_rate = float(separator.sample_rate)
    batch = preprocess(waveform, model_rate if rate is None else rate, model_rate)
    if separator.nb_channels == 1 and _is_mono(waveform):
        batch = batch[:, :1]
    with _evaluating(separator):
        estimates = [separate_waveform(separator, item, config).cpu() for item in batch]
    return separator.to_dict(torch.stack(estimates), aggregate_dict)


@contextmanager
def _evaluating(separator: Separator) -> Iterator[None]:
    """Leave out dropout and the like, and restore what was in training afterwards."""
    training = [module for module in separator.modules() if module.training]
    separator.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _load(
    audio: Tensor | np.ndarray | str | Path, rate: float | None
) -> tuple[Tensor, float | None]:
    """Return a waveform and its sample rate."""
    if isinstance(audio, (str, Path)):
        with open_stream(AudioSource(Path(audio)), max_channels=2) as stream:
            return torch.from_numpy(np.concatenate(list(stream), axis=1)), stream.sample_rate
    # A copy, because torch cannot take arrays that run backwards and warns of read-only ones.
    waveform = (
        torch.from_numpy(np.array(audio)) if isinstance(audio, np.ndarray) else audio.detach()
    )
    if not waveform.is_floating_point():
        raise ValueError(
            f"audio is of {waveform.dtype}, expected floating point; divide it by its full scale"
        )
    _check_samples(waveform)
    return waveform.float(), rate


def _check_samples(waveform: Tensor) -> None:
    """Raise if there are no samples, or one that is not a finite number."""
    if not waveform.numel():
        raise ValueError(f"audio has shape {tuple(waveform.shape)}; give at least one sample")
    broken = (~waveform.isfinite()).nonzero()
    if len(broken):
        position = tuple(broken[0].tolist())
        value = waveform[position].item()
        raise ValueError(f"audio has the value {value} at position {position}; repair it first")


def _is_mono(waveform: Tensor) -> bool:
    """Whether a waveform has one channel, in any of the shapes that are understood."""
    if waveform.ndim == 1:
        return True
    rows, columns = waveform.shape[-2:]
    return rows == 1 or (columns == 1 and rows > 2)
