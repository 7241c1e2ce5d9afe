"""The player in a notebook."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openunmix.audio import AudioWriter
from openunmix.web.page import page_html

Waveform = Tensor | npt.NDArray[np.floating]


@dataclass(frozen=True)
class StemPlayer:
    """A player page that IPython shows below the cell that returns it."""

    page: str  #: HTML
    height: int  #: of the frame, in CSS pixels

    def _repr_html_(self) -> str:
        """Frame that contains the page itself, so that it needs no server."""
        return (
            f'<iframe title="Stem player" srcdoc="{html.escape(self.page)}" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"StemPlayer({len(self.page) / 1e6:.1f} MB of HTML, shown in a notebook)"


def show(
    estimates: Mapping[str, Waveform],
    sample_rate: int = 44100,
    *,
    mixture: Waveform | None = None,
    title: str = "Stems",
    details: Mapping[str, str] | None = None,
    height: int | None = None,
) -> StemPlayer:
    """Play estimates in a notebook.

    Parameters
    ----------
    estimates : mapping of str to Tensor or ndarray
        Waveforms as `openunmix.predict.separate` returns them, of shape (channels, samples),
        (samples,) or (1, channels, samples).
    sample_rate : int
        Sample rate in Hz.
    mixture : Tensor or ndarray, optional
        The original to compare with; the sum of the estimates by default.
    title, details : optional
        As for :func:`openunmix.web.write_page`.
    height : int, optional
        Height of the frame in CSS pixels; enough for all stems by default.

    Returns
    -------
    StemPlayer
        Value for the last line of a cell, or for ``IPython.display.display``.

    Raises
    ------
    ValueError
        If there are no estimates, or one of them is not a single waveform.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: _write(Path(folder, f"{number}.wav"), name, waveform, sample_rate)
            for number, (name, waveform) in enumerate(estimates.items())
        }
        original = None
        if mixture is not None:
            original = _write(Path(folder, "mixture.wav"), "mixture", mixture, sample_rate)
        page = page_html(files, title=title, mixture=original, details=details)
    rows = len(files) + (original is not None)
    return StemPlayer(page, height or 300 + 110 * rows)


def _write(path: Path, name: str, waveform: Waveform, sample_rate: int) -> Path:
    """Write a waveform (channels, samples), (samples,) or (1, channels, samples) as a file."""
    given = torch.as_tensor(waveform).detach().to("cpu", torch.float32)
    samples = given[None] if given.ndim == 1 else given
    if samples.ndim == 3:
        samples = samples.squeeze(0)
    if samples.ndim != 2 or not samples.numel():
        raise ValueError(
            f"{name!r} has the shape {tuple(given.shape)}, expected (channels, samples)"
        )
    with AudioWriter(path, sample_rate, len(samples), "32f") as writer:
        writer.write(samples)
    return path
