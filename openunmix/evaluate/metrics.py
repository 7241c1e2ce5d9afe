"""Metrics of whole tracks, each named after its definition.

They differ by several dB for the same estimate, from each other and from the frame-wise SDR of
:mod:`openunmix.evaluate.bss_eval`: never put two of them in one table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 1 << 18  # samples converted to double precision at a time


def sdr_mdx21(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Signal-to-distortion ratio of a whole track, as in the Music Demixing Challenge 2021.

    .. math:: 10 \log_{10} \frac{\sum_{c,n} s(c,n)^2}{\sum_{c,n} (s(c,n) - \hat s(c,n))^2}

    over all channels and samples (..., channels, samples) at once [1]_: dB (...), ``inf`` for a
    perfect estimate, 0 for one of silence, ``nan`` where the reference is silent.

    .. [1] Y. Mitsufuji et al., "Music Demixing Challenge 2021", Frontiers in Signal Processing
       1:808395, 2022.

    >>> sdr_mdx21(torch.ones(1, 100), torch.full((1, 100), 0.9)).round()
    tensor(20.)
    """
    _check(reference, estimate)
    signal = _sum(lambda s: s.square(), reference)
    distortion = _sum(lambda s, e: (s - e).square(), reference, estimate)
    return torch.where(signal > 0, 10 * torch.log10(signal / distortion), torch.nan).float()


def si_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Scale-invariant signal-to-distortion ratio of a whole track.

    .. math:: 10 \log_{10} \frac{\|\alpha s\|^2}{\|\alpha s - \hat s\|^2}, \quad
        \alpha = \frac{\langle \hat s, s \rangle}{\|s\|^2}

    with all channels of a signal (..., channels, samples) as one vector, without removing its mean
    [1]_: dB (...), ``inf`` for a perfect estimate of any level, ``-inf`` for one orthogonal to the
    source, ``nan`` where one of the two is silent. One factor for all channels means that a wrong
    balance between them counts as distortion.

    .. [1] J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR -- half-baked or well done?",
       ICASSP 2019.

    >>> reference = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    >>> si_sdr(reference, torch.tensor([[5.0, 5.0, 0.5, 0.5]])).round()
    tensor(20.)
    """
    _check(reference, estimate)
    energy = _sum(lambda s: s.square(), reference)
    alpha = _sum(lambda s, e: s * e, reference, estimate) / energy
    scale = alpha[..., None, None]
    # Not |e|^2 - alpha^2 |s|^2, in which good estimates cancel to rounding errors.
    error = _sum(lambda s, e: (e - scale * s).square(), reference, estimate)
    return (10 * torch.log10(alpha.square() * energy / error)).float()


def _sum(terms: Callable[..., Tensor], *signals: Tensor) -> Tensor:
    """Sum of a function of signals over channels and samples, in double precision: (...)."""
    totals = []
    for start in range(0, max(signals[0].shape[-1], 1), _BLOCK):
        parts = [signal[..., start : start + _BLOCK].double() for signal in signals]
        totals.append(terms(*parts).sum(dim=(-2, -1)))
    return torch.stack(totals).sum(dim=0)


def _check(reference: Tensor, estimate: Tensor) -> None:
    """Raise ValueError if the shapes differ."""
    if reference.shape != estimate.shape:
        raise ValueError(
            f"reference has shape {tuple(reference.shape)}, estimate {tuple(estimate.shape)}; "
            "they must be the same"
        )
