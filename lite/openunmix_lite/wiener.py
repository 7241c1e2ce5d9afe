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

Masks and sources are (sources, channels, frames, bins), a mixture is (channels, frames, bins).

References
----------
.. [1] N. Q. K. Duong, E. Vincent, R. Gribonval, "Under-determined reverberant audio source
   separation using a full-rank spatial covariance model", IEEE Trans. Audio, Speech, Lang.
   Process. 18(7):1830-1840, 2010.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from openunmix_lite.fourier import Complex, Real

_EPS = 1e-10
_NOISE = _EPS**0.5  # power of the noise n
_TINY = 1e-20  # by this ratios of powers are kept finite
_LOUDEST = 10.0  # a mixture with a larger peak is scaled down to it, as the noise is absolute
# Frames times bins that are fitted at once, and frames that are separated: arrays stay in the cache
_FITTED, _SEPARATED = 19200, 10


@dataclass(frozen=True)
class FilterOptions:
    """Options of the filter."""

    niter: int = 1  #: iterations; 0 returns the initial estimates
    window: int = 300  #: frames over which statistics are taken
    softmask: bool = False  #: whether initial estimates are made by ratio masks
    residual: str | None = None  #: name of one more source: what the targets lack

    def __post_init__(self) -> None:
        """Raise ValueError for settings out of range."""
        if self.niter < 0 or self.window < 1:
            raise ValueError("iterations must be 0 or more, and their window 1 frame or more")


class Factors(NamedTuple):
    """Factors of the spatial covariances, all (sources, 1, bins)."""

    power: Real  #: p
    ratio: Complex  #: c
    rest: Real  #: q


def separate_frames(masks: Real, mixture: Complex, options: FilterOptions) -> Iterator[Complex]:
    """Yield the sources in each frame of a window, (sources, channels, bins).

    Statistics are sums over frames, so they are fitted some bins at a time; with them, the sources
    in any frames follow.
    """
    _, frames, bins = mixture.shape
    scale = np.float32(max(1.0, np.abs(mixture).max() / _LOUDEST))
    step = max(1, _FITTED // frames)
    blocks = (slice(first, first + step) for first in range(0, bins, step))
    fitted = [fit(masks[..., block], mixture[..., block] / scale, options) for block in blocks]
    iterations = [join_bins(parts) for parts in zip(*fitted, strict=True)]
    for first in range(0, frames, _SEPARATED):
        block = slice(first, first + _SEPARATED)
        y = estimate(masks[:, :, block], mixture[:, block] / scale, iterations, options)
        yield y * scale


def fit(masks: Real, x: Complex, options: FilterOptions) -> list[Factors]:
    """Fit the spatial covariances of all iterations to all frames of a window."""
    iterations: list[Factors] = []
    sources = len(masks) + (options.residual is not None)
    for _ in range(options.niter if sources > 1 else 0):  # the gain of a single source would be 1
        iterations.append(spatial_factors(estimate(masks, x, iterations, options)))
    return iterations


def join_bins(parts: Sequence[Factors]) -> Factors:
    """Join the factors of blocks of bins."""
    return Factors(*(np.concatenate(values, axis=-1) for values in zip(*parts, strict=True)))


def estimate(
    masks: Real, x: Complex, iterations: Sequence[Factors], options: FilterOptions
) -> Complex:
    """Estimate the sources after some iterations, whose spatial covariances are known."""
    y = initial_estimates(masks, x, options)
    for factors in iterations:
        v = power_spectral_density(y)
        y = mono_mean(v, x) if len(x) == 1 else stereo_mean(v, factors, x)
    return y


def initial_estimates(masks: Real, x: Complex, options: FilterOptions) -> Complex:
    r"""Return :math:`y_j = m_j\, x`, or :math:`x\, m_j |x| / (\epsilon + \sum_k m_k |x|)`."""
    if options.softmask:
        magnitudes = masks * np.abs(x)
        masks = magnitudes / (_EPS + magnitudes.sum(axis=0))
    y = masks * x
    return y if options.residual is None else np.concatenate([y, [x - y.sum(axis=0)]])


def power(signal: Complex) -> Real:
    """Squared absolute value."""
    return signal.real**2 + signal.imag**2


def power_spectral_density(y: Complex) -> Real:
    r""":math:`v_j = \frac{1}{\mathrm{channels}} \sum_c |y_{jc}|^2`, (sources, frames, bins)."""
    return power(y).mean(axis=1)


def spatial_factors(y: Complex) -> Factors:
    r"""Factors of :math:`R_j = \sum_t y_j y_j^H / (\epsilon + \sum_t v_j)`.

    .. math:: p_j = \frac{\sum_t |y_{j1}|^2}{n_j}, \quad
        c_j = \frac{\sum_t y_{j2}\, \overline{y_{j1}}}{n_j p_j}, \quad
        q_j = \frac{\sum_t |y_{j2} - c_j y_{j1}|^2}{n_j}, \quad n_j = \epsilon + \sum_t v_j
    """
    first, second = y[:, 0], y[:, -1]
    n = _EPS + power_spectral_density(y).sum(axis=1, keepdims=True)
    p = power(first).sum(axis=1, keepdims=True) / n + _TINY
    c = (second * first.conj()).sum(axis=1, keepdims=True) / n / p
    q = power(second - c * first).sum(axis=1, keepdims=True) / n + _TINY * power(c)
    return Factors(p, c, q)


def mono_mean(v: Real, x: Complex) -> Complex:
    r"""Return sources of one channel, where :math:`R_j = 1`: :math:`v_j x / C`."""
    return (v / (_NOISE + v.sum(axis=0)) * x)[:, None]


def stereo_mean(v: Real, factors: Factors, x: Complex) -> Complex:
    r"""Return sources of two channels, :math:`v_j R_j C^{-1} x`, by the factors of :math:`C`.

    .. math:: w_j = v_j p_j, \quad P = \sqrt\epsilon + \sum_j w_j, \quad
        \bar c = \frac{1}{P} \sum_j w_j c_j, \quad d_j = c_j - \bar c, \quad
        Q = \sqrt\epsilon\,(1 + |\bar c|^2) + \sum_j \big(v_j q_j + w_j |d_j|^2\big),

    .. math:: u = x_2 - \bar c\, x_1, \quad
        y_{j1} = w_j \Big(\frac{x_1}{P} + \overline{d_j}\, \frac{u}{Q}\Big), \quad
        y_{j2} = c_j\, y_{j1} + v_j q_j \frac{u}{Q}.
    """
    p, c, q = factors
    w, rest = v * p, v * q
    total = _NOISE + w.sum(axis=0)  # P
    mean = (w * c).sum(axis=0) / total
    d = c - mean
    total_rest = _NOISE * (1 + power(mean)) + (rest + w * power(d)).sum(axis=0)  # Q
    innovation = (x[1] - mean * x[0]) / total_rest  # u / Q
    first = w * (x[0] / total + d.conj() * innovation)
    return np.stack([first, c * first + rest * innovation], axis=1)
