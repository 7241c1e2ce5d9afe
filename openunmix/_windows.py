"""The Wiener filter on consecutive windows of frames, which may overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from openunmix._fast_wiener import WienerFilter

__all__ = ["WindowedFilter"]


class WindowedFilter:
    """A filter that works on one window of frames after the other.

    Each window also takes in the last frames of the one before; there the estimates fade from one
    window's to the next's.

    Parameters
    ----------
    wiener : WienerFilter
        The filter of one window.
    overlap : int
        Frames that a window shares with the one before; 0 as in openunmix 1.3.0.
    """

    def __init__(self, wiener: WienerFilter, overlap: int) -> None:
        self.wiener = wiener
        self.overlap = overlap
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def push(self, magnitudes: Tensor, mixture: Tensor) -> Tensor:
        """Filter the next frames.

        Parameters
        ----------
        magnitudes : Tensor [shape=(targets, frames, channels, bins)], real, non-negative
            Magnitudes of the targets.
        mixture : Tensor [shape=(frames, channels, bins)], complex
            STFT of the mixture.

        Returns
        -------
        Tensor [shape=(sources, frames, channels, bins)], complex
            Estimates of as many frames, fewer the first time, in memory that the next call may
            overwrite.
        """
        if self.overlap == 0:
            return self.wiener(magnitudes, mixture)
        estimates_before = None
        if self._kept is not None:
            magnitudes_before, mixture_before, estimates_before = self._kept
            magnitudes = torch.cat([magnitudes_before, magnitudes], dim=1)
            mixture = torch.cat([mixture_before, mixture])
        estimates = self.wiener(magnitudes, mixture)
        if estimates_before is not None:
            faded = estimates_before.shape[1]
            weight = torch.linspace(0, 1, faded + 2, device=mixture.device)[1:-1, None, None]
            estimates[:, :faded] += (1 - weight) * (estimates_before - estimates[:, :faded])
        ready = max(len(mixture) - self.overlap, 0)
        self._kept = (
            magnitudes[:, ready:].clone(),
            mixture[ready:].clone(),
            estimates[:, ready:].clone(),
        )
        return estimates[:, :ready]

    def finish(self) -> Tensor | None:
        """Return the estimates of the last frames, if any were held back."""
        return None if self._kept is None else self._kept[2]
