"""Measures of separation over whole tracks, each named by its definition.

They differ by several dB for the same estimate, and from the frame-wise SDR in
:mod:`openunmix.evaluate.bss_eval`: never put two of them in one table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["sdr_mdx21", "si_sdr"]

# Samples that are summed at a time, since double precision takes twice the memory.
_BLOCK = 1 << 18


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
    _check(reference, estimate)
    signal = _sum(lambda true: true.square(), reference)
    distortion = _sum(lambda true, given: (true - given).square(), reference, estimate)
    return torch.where(signal > 0, 10 * torch.log10(signal / distortion), torch.nan).float()


def si_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Scale-invariant signal-to-distortion ratio of a whole track.

    .. math:: 10 \log_{10} \frac{\|\alpha s\|^2}{\|\alpha s - \hat s\|^2}, \quad
        \alpha = \frac{\langle \hat s, s \rangle}{\|s\|^2}

    with all channels of a signal as one vector and nothing subtracted from it [1]_: one factor
    for all channels, so that wrong levels between them count as distortion.

    Parameters
    ----------
    reference : Tensor [shape=(..., channels, samples)], real
        The true source.
    estimate : Tensor [shape=(..., channels, samples)], real
        Its estimate.

    Returns
    -------
    Tensor [shape=(...)], real
        Decibels: ``inf`` for a perfect estimate of any level, ``-inf`` for one that has nothing
        of the source, ``nan`` where one of both is silent.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR -- half-baked or well done?",
       ICASSP 2019.

    Examples
    --------
    >>> reference = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    >>> si_sdr(reference, torch.tensor([[5.0, 5.0, 0.5, 0.5]])).round()
    tensor(20.)
    """
    _check(reference, estimate)
    energy = _sum(lambda true: true.square(), reference)
    factor = _sum(lambda true, given: true * given, reference, estimate) / energy
    scale = factor[..., None, None]
    error = _sum(lambda true, given: (given - scale * true).square(), reference, estimate)
    return (10 * torch.log10(factor.square() * energy / error)).float()


def _sum(terms: Callable[..., Tensor], *signals: Tensor) -> Tensor:
    """Sum a function of signals over channels and samples, in double precision: (...)."""
    sums = []
    for start in range(0, max(signals[0].shape[-1], 1), _BLOCK):
        parts = [signal[..., start : start + _BLOCK].double() for signal in signals]
        sums.append(terms(*parts).sum(dim=(-2, -1)))
    return torch.stack(sums).sum(dim=0)


def _check(reference: Tensor, estimate: Tensor) -> None:
    """Raise ValueError if the shapes differ."""
    if reference.shape != estimate.shape:
        raise ValueError(
            f"reference has shape {tuple(reference.shape)}, estimate {tuple(estimate.shape)}; "
            "they must be the same"
        )
