r"""The multichannel Wiener filter, in closed form for one and two channels.

Every source is a complex Gaussian vector in every frame :math:`t` and bin :math:`f`, with a power
that changes over time and a spatial covariance that does not [1]_:

.. math:: y_j(t,f) \sim \mathcal N\big(0,\ v_j(t,f)\, R_j(f)\big), \qquad
    x(t,f) = \sum_j y_j(t,f) + n(t,f), \quad n \sim \mathcal N(0, \sqrt\epsilon\, I).

One iteration of expectation maximisation estimates :math:`v_j` and :math:`R_j` from the sources,
and then the sources as their means given the mixture, :math:`y_j = v_j R_j C^{-1} x` with
:math:`C = \sum_k v_k R_k + \sqrt\epsilon\, I`.

In single precision :math:`C` is singular where both channels are equal. So each covariance of two
channels is kept as the factors of its :math:`LDL^H` decomposition, in which no powers are
subtracted: the first channel has the power :math:`p_j`, the second is predicted from it as
:math:`c_j` times the first, and the power of the error is :math:`q_j`,

.. math:: R_j = p_j \begin{pmatrix} 1 \\ c_j \end{pmatrix}
    \begin{pmatrix} 1 \\ c_j \end{pmatrix}^H + q_j \begin{pmatrix} 0 & 0 \\ 0 & 1 \end{pmatrix}.

Statistics are sums over frames, so :func:`fit` works on blocks of bins; with them, the sources of
any frames follow (:func:`estimate`). Blocks stay in the cache, and no array is large.

The mixture is a list of its channels (frames, bins), and sources are a list of channels (sources,
frames, bins).

References
----------
.. [1] N. Q. K. Duong, E. Vincent, R. Gribonval, "Under-determined reverberant audio source
   separation using a full-rank spatial covariance model", IEEE Trans. Audio, Speech, Lang.
   Process. 18(7):1830-1840, 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from openunmix_lite.types import Complex, Real

_EPS = 1e-10
_NOISE = _EPS**0.5  # power of the noise n
_TINY = 1e-20  # by this ratios of powers are kept finite
_LOUDEST = 10.0  # a mixture with a larger peak is scaled down to it, as the noise is absolute
_BLOCK = 19200  # frames times bins of a block


@dataclass(frozen=True)
class FilterOptions:
    """Options of the filter."""

    niter: int = 1  #: iterations; 0 returns the initial estimates
    window: int = 300  #: frames over which statistics are taken
    softmask: bool = False  #: whether initial estimates are made by ratio masks
    residual: bool = False  #: whether what the targets lack is one more source

    def __post_init__(self) -> None:
        """Raise ValueError for settings out of range."""
        if self.niter < 0 or self.window < 1:
            raise ValueError(f"iterations must be 0 or more, and the window 1 or more: {self}")


class Factors(NamedTuple):
    """Factors of the spatial covariances, all (sources, 1, bins); of one channel p alone."""

    power: Real  #: p
    ratio: Complex  #: c
    rest: Real  #: q


def fit(masks: Real, mixture: Complex, options: FilterOptions) -> tuple[float, list[Factors]]:
    """Fit the model to a window: the scale of its statistics, and the factors of each iteration.

    ``masks`` are (targets, frames, channels, bins), and ``mixture`` is (frames, channels, bins).
    """
    # A single source cannot be refined: its gain would be 1.
    niter = options.niter if len(masks) + options.residual > 1 else 0
    scale = max(1.0, float(power(mixture).max()) ** 0.5 / _LOUDEST) if niter else 1.0
    found: list[list[Factors]] = [[] for _ in range(niter)]
    for block in blocks(mixture.shape[-1], max(1, _BLOCK // len(mixture))):
        x = list(mixture[..., block].swapaxes(0, 1))
        y = initial_estimates(masks[..., block], x, options)
        for number, factors_of_blocks in enumerate(found):
            y = [channel / np.float32(scale) for channel in y]
            psd = power_spectral_density(y)
            factors = spatial_factors(y, psd)
            factors_of_blocks.append(factors)
            if number + 1 < niter:
                y = posterior_mean(psd, factors, x)
    return scale, [join_bins(parts) for parts in found]


def join_bins(parts: Sequence[Factors]) -> Factors:
    """Join the factors of blocks of bins."""
    return Factors(*(np.concatenate(values, axis=-1) for values in zip(*parts, strict=True)))


def blocks(length: int, step: int) -> Iterator[slice]:
    """Divide an axis into blocks."""
    yield from (slice(start, start + step) for start in range(0, length, step))


def estimate(
    masks: Real,
    mixture: Complex,
    scale: float,
    iterations: Sequence[Factors],
    options: FilterOptions,
) -> Complex:
    """Separate any frames of a window that was fitted, into (sources, frames, channels, bins)."""
    x = list(mixture.swapaxes(0, 1))
    y = initial_estimates(masks, x, options)
    for factors in iterations:
        psd = power_spectral_density([channel / np.float32(scale) for channel in y])
        y = posterior_mean(psd, factors, x)
    return np.stack(y, axis=2)


def initial_estimates(
    masks: Real, mixture: Sequence[Complex], options: FilterOptions
) -> list[Complex]:
    r"""Return :math:`y_j = m_j\, x`, or :math:`x\, m_j |x| / (\epsilon + \sum_k m_k |x|)`."""
    estimates = []
    for channel, x in enumerate(mixture):
        of_channel = masks[:, :, channel]
        if options.softmask:
            magnitudes = of_channel * np.abs(x)
            of_channel = magnitudes / (_EPS + magnitudes.sum(axis=0))
        sources = of_channel * x
        if options.residual:
            sources = np.concatenate([sources, (x - sources.sum(axis=0))[None]])
        estimates.append(sources)
    return estimates


def power(signal: Complex) -> Real:
    """Squared absolute value."""
    return signal.real**2 + signal.imag**2


def power_spectral_density(sources: Sequence[Complex]) -> Real:
    r""":math:`v_j = \frac{1}{\mathrm{channels}} \sum_c |y_{jc}|^2`, (sources, frames, bins)."""
    total = power(sources[0])
    for channel in sources[1:]:
        total += power(channel)
    return total / np.float32(len(sources))


def spatial_factors(sources: Sequence[Complex], psd: Real) -> Factors:
    r"""Factors of :math:`R_j = \sum_t y_j y_j^H / (\epsilon + \sum_t v_j)`.

    .. math:: p_j = \frac{\sum_t |y_{j1}|^2}{n_j}, \quad
        c_j = \frac{\sum_t y_{j2}\, \overline{y_{j1}}}{n_j p_j}, \quad
        q_j = \frac{\sum_t |y_{j2} - c_j y_{j1}|^2}{n_j}, \quad n_j = \epsilon + \sum_t v_j
    """
    first, second = sources[0], sources[-1]
    weight = _EPS + psd.sum(axis=1, keepdims=True)
    p = power(first).sum(axis=1, keepdims=True) / weight + _TINY
    if len(sources) == 1:
        return Factors(p, p, p)
    c = (second * first.conj()).sum(axis=1, keepdims=True) / weight / p
    q = power(second - c * first).sum(axis=1, keepdims=True) / weight + _TINY * power(c)
    return Factors(p, c, q)


def posterior_mean(psd: Real, factors: Factors, mixture: Sequence[Complex]) -> list[Complex]:
    """Return the means of the sources given the mixture, for one or two channels."""
    if len(mixture) == 2:
        return stereo_mean(psd, factors, mixture)
    return [mono_mean(psd, factors.power, mixture[0])]


def mono_mean(psd: Real, covariance: Real, mixture: Complex) -> Complex:
    r"""Return sources of one channel, :math:`v_j R_j x / (\sqrt\epsilon + \sum_k v_k R_k)`."""
    part = psd * covariance
    return part / (_NOISE + part.sum(axis=0)) * mixture


def stereo_mean(psd: Real, factors: Factors, mixture: Sequence[Complex]) -> list[Complex]:
    r"""Return sources of two channels, :math:`v_j R_j C^{-1} x`, in the factors of :math:`C`.

    .. math:: w_j = v_j p_j, \quad P = \sqrt\epsilon + \sum_j w_j, \quad
        \bar c = \frac{1}{P} \sum_j w_j c_j, \quad d_j = c_j - \bar c, \quad
        Q = \sqrt\epsilon\,(1 + |\bar c|^2) + \sum_j \big(v_j q_j + w_j |d_j|^2\big),

    .. math:: u = x_2 - \bar c\, x_1, \quad
        y_{j1} = w_j \Big(\frac{x_1}{P} + \overline{d_j}\, \frac{u}{Q}\Big), \quad
        y_{j2} = c_j\, y_{j1} + v_j q_j \frac{u}{Q}.
    """
    p, c, q = factors
    w, rest = psd * p, psd * q
    total = _NOISE + w.sum(axis=0)  # P
    mean = (w * c).sum(axis=0) / total
    d = c - mean
    total_rest = _NOISE * (1 + power(mean)) + (rest + w * power(d)).sum(axis=0)  # Q
    innovation = (mixture[1] - mean * mixture[0]) / total_rest  # u / Q
    first = w * (mixture[0] / total + d.conj() * innovation)
    return [first, c * first + rest * innovation]
