"""Measures of separation, each named by its definition."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sdr_mdx21"]


def sdr_mdx21(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Signal-to-distortion ratio of a whole track, as in the Music Demixing Challenge 2021.

    .. math:: 10 \log_{10} \frac{\sum_{c,n} s(c,n)^2}{\sum_{c,n} (s(c,n) - \hat s(c,n))^2}

    over all channels and samples at once [1]_. It is not comparable with the SDR of BSS Eval,
    which allows a distortion filter and takes medians over seconds.

    Parameters
    ----------
    reference : Tensor [shape=(..., channels, samples)], real
        The true source.
    estimate : Tensor [shape=(..., channels, samples)], real
        Its estimate.

    Returns
    -------
    Tensor [shape=(...)], real
        Decibels: 0 for an estimate of silence, ``inf`` for a perfect one, ``nan`` where the
        reference is silent.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] Y. Mitsufuji et al., "Music Demixing Challenge 2021", Frontiers in Signal Processing
       1:808395, 2022.

    Examples
    --------
    >>> sdr_mdx21(torch.ones(1, 100), torch.full((1, 100), 0.9)).round()
    tensor(20.)
    """
    if reference.shape != estimate.shape:
        raise ValueError(
            f"reference has shape {tuple(reference.shape)}, estimate {tuple(estimate.shape)}; "
            "they must be the same"
        )
    signal = reference.double().square().sum(dim=(-2, -1))
    distortion = (reference.double() - estimate.double()).square().sum(dim=(-2, -1))
    return torch.where(signal > 0, 10 * torch.log10(signal / distortion), torch.nan).float()
