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
    """
    count, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
    for magnitude in magnitudes:
        mono = magnitude.double().flatten(0, -3).mean(dim=0)
        count += mono.shape[-1]
        total = total + mono.sum(dim=-1)
        squares = squares + mono.square().sum(dim=-1)
    mean = total / count
    scale = (squares / count - mean.square()).clamp(min=0).sqrt()
    return InputStatistics(mean.float(), scale.clamp(min=1e-4 * float(scale.max())).float())
