"""Mean and scale of mixture spectra, with which networks standardise their input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["InputStatistics", "input_statistics"]


class InputStatistics(NamedTuple):
    """Statistics of magnitudes per bin.

    Attributes
    ----------
    mean, scale : Tensor [shape=(bins,)], real
        Mean, and standard deviation, floored at a ten-thousandth of its largest value.
    """

    mean: Tensor
    scale: Tensor


def input_statistics(magnitudes: Iterable[Tensor]) -> InputStatistics:
    """Mean and standard deviation per bin over all other axes.

    Parameters
    ----------
    magnitudes : iterable of Tensor [shape=(..., bins, frames)], real
        Magnitudes of mixtures; each is averaged over its leading axes (channels) first.

    Returns
    -------
    InputStatistics
        Mean and scale.

    Raises
    ------
    ValueError
        If nothing varies, because there are no magnitudes or all are silent.
    """
    count, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
    for magnitude in magnitudes:
        mono = magnitude.double().reshape(-1, *magnitude.shape[-2:]).mean(dim=0)
        count += mono.shape[-1]
        total = total + mono.sum(dim=-1)
        squares = squares + mono.square().sum(dim=-1)
    mean = total / max(count, 1)
    scale = (squares / max(count, 1) - mean.square()).clamp(min=0).sqrt()
    if not scale.max() > 0:
        raise ValueError(f"nothing varies in {count} frames; give mixtures that are not silent")
    return InputStatistics(mean.float(), scale.clamp(min=1e-4 * float(scale.max())).float())
