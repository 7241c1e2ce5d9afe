r"""The local Gaussian model of a mixture, and the Wiener filter that follows from it.

Every source is a zero-mean complex Gaussian vector in every bin :math:`f` and frame :math:`t`,
with a power that changes over time and a spatial covariance that does not [1]_:

.. math:: y_j(t,f) \sim \mathcal N\bigl(0,\ v_j(t,f)\, R_j(f)\bigr), \qquad
    x(t,f) = \sum_j y_j(t,f) + n(t,f), \quad n \sim \mathcal N(0, \sqrt\epsilon\, I).

====================  ============================================  =======================
symbol                meaning                                       axes
====================  ============================================  =======================
:math:`x`             mixture                                       frames, bins, channels
:math:`y_j`           STFT of source :math:`j`                      ..., channels, sources
:math:`v_j`           power spectral density of source :math:`j`    frames, bins, sources
:math:`R_j`           spatial covariance of source :math:`j`        bins, c, c, sources
:math:`W_j`           Wiener gain of source :math:`j`               frames, bins, c, c, sources
:math:`C`             covariance of the mixture                     frames, bins, c, c
====================  ============================================  =======================

**Two channels in single precision.** With equal channels :math:`C` is singular up to
:math:`\sqrt\epsilon`, which is far below one rounding step of a loud bin, and its determinant
:math:`C_{11} C_{22} - |C_{12}|^2` is rounding noise of any sign. So neither :math:`C` nor its
determinant is ever formed. Every covariance is kept in the factors of its :math:`LDL^H`
decomposition,

.. math:: R_j = p_j \begin{pmatrix} 1 \\ c_j \end{pmatrix}
    \begin{pmatrix} 1 \\ c_j \end{pmatrix}^H + q_j \begin{pmatrix} 0 & 0 \\ 0 & 1 \end{pmatrix},

where :math:`c_j` predicts the second channel from the first and :math:`q_j` is the power of the
prediction error, computed from the signals :math:`y_{j2} - c_j y_{j1}` and not as a difference of
powers. The noise is one more source with :math:`p = q = \sqrt\epsilon, c = 0`. With
:math:`w_j = v_j p_j` the factors of :math:`C` are sums of non-negative terms,

.. math:: P = \sqrt\epsilon + \sum_j w_j, \quad \bar c = \frac{1}{P} \sum_j w_j c_j, \quad
    Q = \sqrt\epsilon\,(1 + |\bar c|^2) + \sum_j \bigl(v_j q_j + w_j\, |c_j - \bar c|^2\bigr),

and with :math:`u = x_2 - \bar c\, x_1` the posterior means are

.. math:: y_{j1} = w_j \Bigl(\frac{x_1}{P} + \overline{(c_j - \bar c)}\, \frac{u}{Q}\Bigr), \qquad
    y_{j2} = c_j\, y_{j1} + v_j q_j \frac{u}{Q}.

No powers are subtracted, so the result is as accurate as the signals: in single precision within
-90 dB of double for every mixture tried, where other formulas have errors of -1 to -20 dB.

References
----------
.. [1] N. Q. K. Duong, E. Vincent, R. Gribonval, "Under-determined reverberant audio source
   separation using a full-rank spatial covariance model", IEEE Trans. Audio, Speech, Lang.
   Process. 18(7):1830-1840, 2010.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "LocalGaussianModel",
    "expectation_maximization",
    "power_spectral_density",
    "spatial_covariance",
    "wiener",
    "wiener_gain",
]

# Added to the power of the first channel, by which ratios are divided. Covariances are about 1:
# this is 200 dB below, and the square of its inverse is within the range of single precision.
_TINY = 1e-20


class LocalGaussianModel(NamedTuple):
    """Sources and parameters of the model, from :func:`expectation_maximization`."""

    sources: Tensor  #: posterior means (..., frames, bins, channels, sources), complex
    psd: Tensor  #: densities of the last iteration (..., frames, bins, sources), real
    covariance: Tensor  #: of the last iteration (..., bins, channels, channels, sources), complex


class _Factors(NamedTuple):
    """LDL factors p, c and q of two-channel covariances; shapes (..., bins, sources)."""

    power: Tensor
    ratio: Tensor
    rest: Tensor


def power_spectral_density(sources: Tensor) -> Tensor:
    r"""Power spectral density :math:`v_j` of every source: its power, averaged over channels.

    Parameters
    ----------
    sources : Tensor [shape=(..., channels, sources)], complex
        STFTs of the sources.

    Returns
    -------
    Tensor [shape=(..., sources)], real, non-negative
        The densities, in squared STFT magnitude (not dB).

    Examples
    --------
    >>> power_spectral_density(torch.tensor([[3.0 + 4.0j], [0.0j]]))
    tensor([12.5000])
    """
    return _power(sources).mean(dim=-2)


def spatial_covariance(sources: Tensor, eps: float = 1e-10) -> Tensor:
    r"""Spatial covariance of every source and bin, relative to the power of the source.

    .. math:: R_j(f) = \frac{\sum_t y_j(t,f)\, y_j(t,f)^H}{\epsilon + \sum_t v_j(t,f)}

    Parameters
    ----------
    sources : Tensor [shape=(..., frames, bins, channels, sources)], complex
        STFTs of the sources.
    eps : float > 0
        Power below which a source counts as silent.

    Returns
    -------
    Tensor [shape=(..., bins, channels, channels, sources)], complex
        The covariances, Hermitian in their two channel axes. The trace is the number of
        channels, less for a source whose power is near ``eps``.

    Examples
    --------
    A source in the middle: both channels have equal power and are fully correlated.

    >>> centred = torch.ones(5, 1, 2, 1, dtype=torch.complex64)
    >>> spatial_covariance(centred)[0, :, :, 0].real
    tensor([[1., 1.],
            [1., 1.]])
    """
    weight = eps + power_spectral_density(sources).sum(dim=-3)
    outer = torch.einsum("...tfcj,...tfdj->...fcdj", sources, sources.conj())
    return outer / weight[..., None, None, :]


def wiener_gain(psd: Tensor, covariance: Tensor, eps: float = 1e-10) -> Tensor:
    r"""Multichannel Wiener gain of every source under the local Gaussian model.

    The gain is the matrix that maps the mixture to the posterior mean of the source,

    .. math:: W_j(t,f) = v_j(t,f)\, R_j(f)
        \Bigl(\sum_k v_k(t,f)\, R_k(f) + \sqrt{\epsilon}\, I\Bigr)^{-1}.

    One and two channels have closed forms, see the module; more are inverted by LU.

    Parameters
    ----------
    psd : Tensor [shape=(..., frames, bins, sources)], real, non-negative
        Power spectral density :math:`v_j` of every source, in squared STFT magnitude (not dB).
    covariance : Tensor [shape=(..., bins, channels, channels, sources)], complex
        Spatial covariance :math:`R_j`, Hermitian in its two channel axes.
    eps : float > 0
        The noise power is ``sqrt(eps)``; it keeps the mixture covariance invertible where all
        sources are silent.

    Returns
    -------
    Tensor [shape=(..., frames, bins, channels, channels, sources)], complex
        The gains. Summed over sources they give the identity, up to ``eps``.

    Raises
    ------
    ValueError
        If ``psd`` and ``covariance`` disagree on bins or on sources.

    Examples
    --------
    Two equally loud sources, one in each channel: each gain keeps one channel.

    >>> psd = torch.ones(1, 1, 2)
    >>> covariance = torch.zeros(1, 2, 2, 2, dtype=torch.complex64)
    >>> covariance[0, 0, 0, 0] = covariance[0, 1, 1, 1] = 1
    >>> wiener_gain(psd, covariance)[0, 0, :, :, 0].real.round(decimals=3)
    tensor([[1., 0.],
            [0., 0.]])
    """
    bins, channels, _, sources = covariance.shape[-4:]
    if psd.shape[-2:] != (bins, sources):
        raise ValueError(
            f"psd has shape (..., frames, bins, sources)={tuple(psd.shape)}, but covariance has "
            f"bins={bins} and sources={sources}; estimate both from the same sources"
        )
    identity = torch.eye(channels, dtype=covariance.dtype, device=covariance.device)
    if channels == 2:
        factors = _factors_of_covariance(covariance)
        columns = [_stereo_mean(psd, factors, column, eps) for column in identity]
        return torch.stack(columns, dim=-2)
    weighted = psd[..., None, None, :] * covariance[..., None, :, :, :, :]  # v_j R_j
    total = weighted.sum(dim=-1) + eps**0.5 * identity
    inverse = total.reciprocal() if channels == 1 else torch.linalg.inv(total)
    return torch.einsum("...cdj,...de->...cej", weighted, inverse)


def expectation_maximization(
    sources: Tensor, mixture: Tensor, iterations: int = 2, eps: float = 1e-10
) -> LocalGaussianModel:
    r"""Fit the local Gaussian model to a mixture, from initial estimates of its sources.

    An iteration computes :math:`v_j` and :math:`R_j` from the sources, and the sources as their
    posterior means :math:`W_j x`. As usual for this filter, the statistics omit the posterior
    covariance that a full EM algorithm would add.

    Parameters
    ----------
    sources : Tensor [shape=(..., frames, bins, channels, sources)], complex
        Initial estimates of the sources. Scale matters because ``eps`` is absolute:
        :func:`wiener` scales the mixture to a peak of 10 at most.
    mixture : Tensor [shape=(..., frames, bins, channels)], complex
        STFT of the mixture.
    iterations : int >= 0
        Number of iterations; 0 returns the initial sources and their statistics.
    eps : float > 0
        The noise power is ``sqrt(eps)``, see :func:`wiener_gain`.

    Returns
    -------
    LocalGaussianModel
        The sources, and the densities and covariances that they were computed with.

    Raises
    ------
    ValueError
        If the axes of ``sources`` and ``mixture`` disagree, or ``iterations`` is negative.

    Notes
    -----
    More than two channels are computed in double precision: in single precision the mixture
    covariance is practically singular.

    Examples
    --------
    >>> mixture = torch.ones(3, 1, 2, dtype=torch.complex64)
    >>> sources = torch.stack([mixture, 2 * mixture], dim=-1)
    >>> expectation_maximization(sources, mixture, iterations=1).sources[0, 0, 0].real
    tensor([0.2000, 0.8000])
    """
    if sources.shape[:-1] != mixture.shape:
        raise ValueError(
            f"sources have shape (..., frames, bins, channels, sources)={tuple(sources.shape)} and "
            f"the mixture {tuple(mixture.shape)}; give both the same frames, bins and channels"
        )
    if iterations < 0:
        raise ValueError(f"iterations is {iterations}; give 0 or more")
    dtype = torch.promote_types(sources.dtype, mixture.dtype)
    sources, mixture = sources.to(dtype), mixture.to(dtype)
    if mixture.shape[-1] > 2 and dtype == torch.complex64:
        wide = expectation_maximization(
            sources.to(torch.complex128), mixture.to(torch.complex128), iterations, eps
        )
        return LocalGaussianModel(
            wide.sources.to(torch.complex64),
            wide.psd.to(torch.float32),
            wide.covariance.to(torch.complex64),
        )
    previous = sources
    for _ in range(iterations):
        previous, sources = sources, _posterior_mean(sources, mixture, eps)
    return LocalGaussianModel(
        sources, power_spectral_density(previous), spatial_covariance(previous, eps)
    )


def wiener(
    magnitudes: Tensor,
    mixture: Tensor,
    iterations: int = 1,
    softmask: bool = False,
    residual: bool = False,
    scale_factor: float = 10.0,
    eps: float = 1e-10,
    phase: Tensor | None = None,
) -> Tensor:
    """Separate a mixture by multichannel Wiener filtering, from the magnitudes of its sources.

    Parameters
    ----------
    magnitudes : Tensor [shape=(..., frames, bins, channels, sources)], real, non-negative
        Magnitude of the STFT of every source, estimated by networks.
    mixture : Tensor [shape=(..., frames, bins, channels)], complex
        STFT of the mixture.
    iterations : int >= 0
        Iterations of :func:`expectation_maximization`; 0 returns the initial estimates.
    softmask : bool
        Apply ratio masks to the mixture for the initial estimates. Otherwise they have the
        magnitudes themselves and the mixture's phase.
    residual : bool
        Append the residual of the initial estimates as one more source.
    scale_factor : float > 0
        Mixtures with a larger peak are scaled down to it during the iterations.
    eps : float > 0
        The noise power is ``sqrt(eps)``, see :func:`wiener_gain`.
    phase : Tensor [shape=(..., frames, bins, channels)], complex, optional
        Phase of the initial estimates, as numbers of absolute value 1; the mixture's by default.

    Returns
    -------
    Tensor [shape=(..., frames, bins, channels, sources)], complex
        STFTs of the sources, the residual last.

    Raises
    ------
    ValueError
        If the axes of ``magnitudes`` and ``mixture`` disagree, or ``iterations`` is negative.

    Examples
    --------
    >>> mixture = torch.tensor([[[2.0j]]])
    >>> magnitudes = torch.tensor([[[[1.5]]]])
    >>> wiener(magnitudes, mixture, iterations=0, residual=True)
    tensor([[[[0.+1.5000j, 0.+0.5000j]]]])
    """
    if magnitudes.shape[:-1] != mixture.shape:
        raise ValueError(
            f"magnitudes have shape (..., frames, bins, channels, sources)="
            f"{tuple(magnitudes.shape)} and the mixture {tuple(mixture.shape)}; give both the same "
            "frames, bins and channels"
        )
    if softmask:
        masks = magnitudes / (eps + magnitudes.sum(dim=-1, keepdim=True))
        sources = masks * mixture[..., None]
    else:
        phase = _phase(mixture) if phase is None else phase
        sources = magnitudes * phase[..., None]
    if residual:
        rest = mixture - sources.sum(dim=-1)
        sources = torch.cat([sources, rest[..., None]], dim=-1)
    if iterations == 0 or mixture.numel() == 0:
        return sources
    loudest = mixture.abs().amax(dim=(-3, -2, -1), keepdim=True)
    scale = (loudest / scale_factor).clamp(min=1.0)
    model = expectation_maximization(sources / scale[..., None], mixture / scale, iterations, eps)
    return model.sources * scale[..., None]


def _power(signal: Tensor) -> Tensor:
    """Squared absolute value, with a gradient at zero; any shape."""
    return signal.real.square() + signal.imag.square()


def _phase(signal: Tensor) -> Tensor:
    """Signal divided by its absolute value, 1 where that is practically zero; any shape."""
    # Below this the squares within an absolute value leave the range of the number format.
    silent = signal.abs() < torch.finfo(signal.dtype).tiny ** 0.5
    phase: Tensor = torch.sgn(signal.masked_fill(silent, 0)) + silent
    return phase


def _posterior_mean(sources: Tensor, mixture: Tensor, eps: float) -> Tensor:
    """Posterior means W_j x under the model fitted to sources (..., channels, sources)."""
    psd = power_spectral_density(sources)
    if mixture.shape[-1] == 2:
        return _stereo_mean(psd, _factors_of_sources(sources, psd, eps), mixture, eps)
    gain = wiener_gain(psd, spatial_covariance(sources, eps), eps)
    return torch.einsum("...cdj,...d->...cj", gain, mixture)


def _factors_of_sources(sources: Tensor, psd: Tensor, eps: float) -> _Factors:
    """LDL factors of the spatial covariances of sources (..., frames, bins, 2, sources)."""
    first, second = sources.unbind(dim=-2)
    weight = eps + psd.sum(dim=-3)
    power = _power(first).sum(dim=-3) / weight + _TINY  # p = R_11
    ratio = (second * first.conj()).sum(dim=-3) / weight / power  # c = R_21 / R_11
    error = second - ratio[..., None, :, :] * first  # of predicting y_2 as c y_1
    rest = _power(error).sum(dim=-3) / weight + _TINY * _power(ratio)  # q = R_22 - p |c|^2
    return _Factors(power, ratio, rest)


def _factors_of_covariance(covariance: Tensor) -> _Factors:
    """LDL factors of covariances (..., bins, 2, 2, sources)."""
    power = covariance[..., 0, 0, :].real + _TINY
    ratio = covariance[..., 1, 0, :] / power
    rest = covariance[..., 1, 1, :].real - power * _power(ratio)
    return _Factors(power, ratio, rest.clamp(min=0.0))  # rounding may make it negative


def _stereo_mean(psd: Tensor, factors: _Factors, mixture: Tensor, eps: float) -> Tensor:
    """Posterior means (..., frames, bins, 2, sources) by the formulas at the top."""
    power, ratio, rest = (factor[..., None, :, :] for factor in factors)
    noise = eps**0.5
    weight = psd * power  # w_j
    leftover = psd * rest  # v_j q_j
    total_power = noise + weight.sum(dim=-1, keepdim=True)  # P
    mean_ratio = (weight * ratio).sum(dim=-1, keepdim=True) / total_power
    spread = ratio - mean_ratio
    total_rest = noise * (1 + _power(mean_ratio)) + (leftover + weight * _power(spread)).sum(
        dim=-1, keepdim=True
    )  # Q
    first, second = mixture[..., 0, None], mixture[..., 1, None]
    innovation = (second - mean_ratio * first) / total_rest  # u / Q
    left = weight * (first / total_power + spread.conj() * innovation)  # y_1
    return torch.stack([left, ratio * left + leftover * innovation], dim=-2)  # y_2 last
