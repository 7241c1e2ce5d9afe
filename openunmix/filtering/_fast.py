r"""The Wiener filter at inference: real arithmetic, in place, in the memory layout of networks.

Model and symbols are those of :mod:`openunmix.filtering.gaussian`. With one iteration all initial
estimates, the residual included, have the phase of the mixture:
:math:`y_{jc} = a_{jc}\, e^{i\theta_c}` with real amplitudes :math:`a`. So the statistics need only
amplitudes and a single product :math:`\rho = e^{i(\theta_2 - \theta_1)}` for all sources:

.. math:: n_j = \epsilon + \tfrac12 \sum_t (a_{j1}^2 + a_{j2}^2), \quad
    p_j = \frac{1}{n_j} \sum_t a_{j1}^2, \quad
    c_j = \frac{1}{n_j p_j} \sum_t a_{j1} a_{j2}\, \rho, \quad
    q_j = \frac{1}{n_j} \sum_t |a_{j2}\, \rho - c_j a_{j1}|^2.

Arrays are processed in blocks that stay in the cache, first of bins, since the statistics sum over
frames, then of frames.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openunmix.filtering.gaussian import _TINY, wiener

# Elements of a block: few enough for its planes to stay in the cache, and enough for Python, whose
# lock threads share, to take little of the time.
_BLOCK = 65536
_SHARED_PLANES = 12
# The defaults of `wiener`.
_SCALE_FACTOR = 10.0
_EPS = 1e-10


class WienerFilter:
    """Wiener filter that keeps its buffers from call to call. Not differentiable.

    Options as for :func:`openunmix.filtering.gaussian.wiener`, which filters what
    :class:`_StereoFilter`, the default of separation, does not. ``apply`` is called like ``map``
    with its blocks, and may compute them in several threads.

    Examples
    --------
    >>> separate = WienerFilter(residual=True)
    >>> mixture = torch.ones(20, 2, 33, dtype=torch.complex64)
    >>> estimates = separate(torch.rand(4, 20, 2, 33), mixture)
    >>> torch.allclose(estimates.sum(dim=0), mixture, atol=1e-3)
    True
    """

    def __init__(
        self,
        iterations: int = 1,
        softmask: bool = False,
        residual: bool = False,
        apply: Callable[[Callable[..., Any], Sequence[slice]], Iterable[Any]] = map,
    ) -> None:
        self.apply = apply
        self.iterations = iterations
        self.softmask = softmask
        self.residual = residual
        self._estimates = torch.empty(0)
        self._stereo: _StereoFilter | None = None

    def __call__(self, magnitudes: Tensor, mixture: Tensor) -> Tensor:
        """Separate a mixture (frames, channels, bins), complex.

        ``magnitudes`` and the result are (sources, frames, channels, bins), the result complex and
        with one more source for the residual. The next call overwrites it.
        """
        if magnitudes.shape[1:] != mixture.shape:
            raise ValueError(
                f"magnitudes have shape (sources, frames, channels, bins)="
                f"{tuple(magnitudes.shape)} and the mixture {tuple(mixture.shape)}; give both the "
                "same frames, channels and bins"
            )
        # A buffer made in inference mode could not be written by a later call outside it.
        with torch.inference_mode(False), torch.no_grad():
            shape = (len(magnitudes) + self.residual, *mixture.shape)
            known = self._estimates
            if (known.shape, known.dtype, known.device) != (shape, mixture.dtype, mixture.device):
                self._estimates = torch.empty(shape, dtype=mixture.dtype, device=mixture.device)
            kind = (mixture.shape[1], self.iterations, mixture.dtype, mixture.device.type)
            if kind == (2, 1, torch.complex64, "cpu") and mixture.numel() > 0:
                if self._stereo is None or self._stereo.shape != self._estimates.shape:
                    self._stereo = _StereoFilter(self, self._estimates.shape)
                self._stereo(magnitudes, mixture, self._estimates)
            else:
                self._filter_blocks(magnitudes, mixture)
            return self._estimates

    def _filter_blocks(self, magnitudes: Tensor, mixture: Tensor) -> None:
        """Filter with any number of channels and iterations."""
        scale = 1.0
        if self.iterations > 0 and mixture.numel() > 0:
            scale = max(1.0, mixture.abs().max().item() / _SCALE_FACTOR)
        frames, channels, bins = mixture.shape
        for block in _blocks(bins, 8 * _BLOCK // max(1, frames * channels)):
            m, x = magnitudes[..., block].permute(1, 3, 2, 0), mixture[..., block].transpose(1, 2)
            sources = wiener(
                m if self.softmask else m / scale,
                x / scale,
                self.iterations,
                softmask=self.softmask,
                residual=self.residual,
                scale_factor=math.inf,  # scaled already, by the maximum over all bins
            )
            torch.mul(sources.permute(3, 0, 2, 1), scale, out=self._estimates[..., block])


class _Planes(NamedTuple):
    """Real planes (frames, bins) of a block: some shared, three for each source."""

    shared: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    third: list[Tensor]


class _StereoFilter:
    """Two channels and one iteration, with buffers for estimates of one shape."""

    def __init__(self, options: WienerFilter, shape: Sequence[int]) -> None:
        self.shape = shape
        self.options = options
        sources, frames, _, bins = shape
        self.mixture = torch.empty(
            2, 2, frames, bins, dtype=torch.float32
        )  # channel, real or imaginary part
        self.factors = torch.empty(4, sources, bins, dtype=torch.float32)  # p/2, Re c, Im c, q/2
        self.scale = 1.0
        # Whole cache lines (16 floats) of bins.
        self.bin_blocks = _blocks(bins, max(16, _BLOCK // frames // 16 * 16))
        self.frame_blocks = _blocks(frames, _BLOCK // bins)
        self.threads = threading.local()  # a workspace and its planes for each thread
        self.factor_rows = [factor.unbind() for factor in self.factors]

    def __call__(self, magnitudes: Tensor, mixture: Tensor, out: Tensor) -> None:
        """Write the estimates (sources, frames, 2, bins) into ``out``."""
        pairs = torch.view_as_real(mixture.resolve_conj())

        def load(rows: slice) -> float:
            return self._load(pairs[rows], self.mixture[:, :, rows])

        def factorize(columns: slice) -> None:
            m, x = magnitudes[..., columns], self.mixture[..., columns]
            self._factorize(m, x, self.factors[..., columns])

        def estimate(rows: slice) -> None:
            self._estimate(magnitudes[:, rows], self.mixture[:, :, rows], out[:, rows])

        apply = self.options.apply
        loudest = max(apply(load, self.frame_blocks))
        # Only amplitudes are scaled. The gains that follow apply to the mixture as it is, so
        # nothing needs to be scaled back.
        self.scale = max(1.0, loudest**0.5 / _SCALE_FACTOR)
        list(apply(factorize, self.bin_blocks))
        list(apply(estimate, self.frame_blocks))

    def _planes(self, rows: int, columns: int) -> _Planes:
        """Divide the workspace into planes (rows, columns)."""
        count = _SHARED_PLANES + 3 * self.shape[0]
        if not hasattr(self.threads, "planes"):
            _, frames, _, bins = self.shape
            width, height = self.bin_blocks[0].stop, self.frame_blocks[0].stop
            size = count * max(frames * width, height * bins)
            self.threads.workspace = torch.empty(size, dtype=torch.float32)
            self.threads.planes = {}
        known: dict[tuple[int, int], _Planes] = self.threads.planes
        key = (rows, columns)
        if key not in known:
            space = self.threads.workspace[: count * rows * columns]
            planes = list(space.view(count, rows, columns).unbind())
            of_sources = [planes[_SHARED_PLANES + i :: 3] for i in range(3)]
            known[key] = _Planes(planes[:_SHARED_PLANES], *of_sources)
        return known[key]

    def _load(self, pairs: Tensor, out: Tensor) -> float:
        """Split (frames, 2, bins, 2) into real and imaginary planes; return the largest power."""
        loudest = 0.0
        power = self._planes(*out.shape[2:]).shared[0]
        for channel, (real, imaginary) in enumerate(out):
            real.copy_(pairs[:, channel, :, 0])
            imaginary.copy_(pairs[:, channel, :, 1])
            torch.mul(real, real, out=power).addcmul_(imaginary, imaginary)
            loudest = max(loudest, power.max().item())
        return loudest

    def _factorize(self, m: Tensor, x: Tensor, out: Tensor) -> None:
        """Write p/2, c and q/2 of every source, (4, sources, bins), for a block of bins."""
        shared, first, second_r, second_i = self._planes(*x.shape[2:])
        level, t, x1r, x1i, x2r, x2i, rho_r, rho_i = shared[:8]
        self._amplitudes(m[:, :, 0], x[0], first, level, t)  # a_j1
        _phase(x[0], level, t, x1r, x1i)
        self._amplitudes(m[:, :, 1], x[1], second_r, level, t)  # a_j2
        _phase(x[1], level, t, x2r, x2i)
        # rho = e^(i theta_2) conj(e^(i theta_1))
        torch.mul(x2r, x1r, out=rho_r).addcmul_(x2i, x1i)
        torch.mul(x2i, x1r, out=rho_i).addcmul_(x2r, x1i, value=-1)

        p, c_r, c_i, q = out
        n = torch.empty_like(p)
        sums = zip(first, second_r, second_i, p, n, c_r, c_i, strict=True)
        for a1, a2_r, a2_i, p_j, n_j, c_jr, c_ji in sums:
            torch.sum(torch.mul(a1, a1, out=t), 0, out=p_j)  # sum of a_1^2
            torch.sum(t.addcmul_(a2_r, a2_r), 0, out=n_j)  # sum of a_1^2 + a_2^2
            torch.mul(a2_r, rho_i, out=a2_i)
            a2_r.mul_(rho_r)  # a_2 is now a_2 rho
            torch.sum(torch.mul(a2_r, a1, out=t), 0, out=c_jr)  # sum of a_1 a_2 rho
            torch.sum(torch.mul(a2_i, a1, out=t), 0, out=c_ji)
        n.mul_(0.5).add_(_EPS)
        p.div_(n).add_(_TINY)
        c_r.div_(n).div_(p)
        c_i.div_(n).div_(p)
        sums = zip(first, second_r, second_i, c_r, c_i, q, strict=True)
        for a1, a2_r, a2_i, c_jr, c_ji, q_j in sums:
            a2_r.addcmul_(c_jr, a1, value=-1)  # a_2 rho - c a_1
            a2_i.addcmul_(c_ji, a1, value=-1)
            torch.mul(a2_r, a2_r, out=t).addcmul_(a2_i, a2_i)
            torch.sum(t, 0, out=q_j)
        # p and q are halved because _estimate has 2 v_j, the sum of powers over two channels.
        q.div_(n).add_(c_r.square().addcmul_(c_i, c_i), alpha=_TINY).mul_(0.5)
        p.mul_(0.5)

    def _estimate(self, m: Tensor, x: Tensor, out: Tensor) -> None:
        """Write the posterior means (sources, frames, 2, bins) for a block of frames."""
        shared, psd, spread_r, spread_i = self._planes(*x.shape[2:])
        t, u, mean_r, mean_i, total, total_rest, real, imag, hr, hi, gr, gi = shared
        self._amplitudes(m[:, :, 0], x[0], spread_r, u, t)
        self._amplitudes(m[:, :, 1], x[1], spread_i, u, t)
        for v, a1, a2 in zip(psd, spread_r, spread_i, strict=True):
            torch.mul(a1, a1, out=v).addcmul_(a2, a2)  # 2 v_j
        self._combine(psd, spread_r, spread_i, (mean_r, mean_i, total, total_rest, t))
        (x1r, x1i), (x2r, x2i) = x
        # h = u / Q = (x_2 - mean c x_1) / Q
        torch.addcmul(x2r, mean_r, x1r, value=-1, out=hr).addcmul_(mean_i, x1i).div_(total_rest)
        torch.addcmul(x2i, mean_r, x1i, value=-1, out=hi).addcmul_(mean_i, x1r, value=-1)
        hi.div_(total_rest)
        # g = x_1 / P
        torch.mul(x1r, total, out=gr)
        torch.mul(x1i, total, out=gi)
        for v, dr, di, y, p, c_r, c_i, q in zip(
            psd, spread_r, spread_i, out, *self.factor_rows, strict=True
        ):
            # y_1 = w (g + conj(d) h) with w = v p
            torch.mul(v, p, out=t)
            torch.addcmul(gr, dr, hr, out=real).addcmul_(di, hi).mul_(t)
            torch.addcmul(gi, dr, hi, out=imag).addcmul_(di, hr, value=-1).mul_(t)
            torch.complex(real, imag, out=y[:, 0])
            # y_2 = c y_1 + v q h
            v.mul_(q)
            torch.mul(v, hr, out=t).addcmul_(c_r, real).addcmul_(c_i, imag, value=-1)
            torch.mul(v, hi, out=u).addcmul_(c_r, imag).addcmul_(c_i, real)
            torch.complex(t, u, out=y[:, 1])

    def _combine(
        self,
        psd: Sequence[Tensor],
        spread_r: Sequence[Tensor],
        spread_i: Sequence[Tensor],
        planes: Sequence[Tensor],
    ) -> None:
        """Write the spread d_j of every source, and mean c, 1 / P and Q of the mixture."""
        mean_r, mean_i, total, total_rest, t = planes
        noise = _EPS**0.5
        total.fill_(noise)
        mean_r.zero_()
        mean_i.zero_()
        power, ratio_r, ratio_i, rest = self.factor_rows
        for v, p, c_r, c_i in zip(psd, power, ratio_r, ratio_i, strict=True):
            torch.mul(v, p, out=t)  # w_j
            total.add_(t)  # P = sqrt(eps) + sum of w_j
            mean_r.addcmul_(t, c_r)  # P mean c = sum of w_j c_j
            mean_i.addcmul_(t, c_i)
        total.reciprocal_()
        mean_r.mul_(total)
        mean_i.mul_(total)
        # Q = sqrt(eps) (1 + |mean c|^2) + sum of v_j (q_j + p_j |d_j|^2), d_j = c_j - mean c
        torch.mul(mean_r, mean_r, out=total_rest).addcmul_(mean_i, mean_i).add_(1.0).mul_(noise)
        for v, dr, di, p, c_r, c_i, q in zip(
            psd, spread_r, spread_i, power, ratio_r, ratio_i, rest, strict=True
        ):
            torch.sub(c_r, mean_r, out=dr)
            torch.sub(c_i, mean_i, out=di)
            torch.mul(dr, dr, out=t).addcmul_(di, di)
            total_rest.addcmul_(v, torch.addcmul(q, t, p, out=t))

    def _amplitudes(
        self, m: Tensor, x: Tensor, out: Sequence[Tensor], level: Tensor, t: Tensor
    ) -> None:
        """Write the amplitudes a_j of one channel, divided by the scale."""
        if self.options.softmask or self.options.residual:  # level = |x| / scale
            torch.mul(x[0], x[0], out=level).addcmul_(x[1], x[1]).sqrt_().mul_(1 / self.scale)
        if self.options.softmask:  # a_j = m_j |x| / (eps + sum of m_k)
            t.fill_(_EPS)
            for magnitude in m:
                t.add_(magnitude)
            torch.div(level, t, out=t)
        for magnitude, amplitude in zip(m, out, strict=False):
            torch.mul(magnitude, t if self.options.softmask else 1 / self.scale, out=amplitude)
        if self.options.residual:  # |x| - sum of a_j; negative where the estimates exceed |x|
            for amplitude in out[:-1]:
                level.sub_(amplitude)
            out[-1].copy_(level)


def _blocks(length: int, step: int) -> list[slice]:
    """Divide an axis into blocks of ``step``, at least 1; the last one may be shorter."""
    step = max(1, step)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _phase(x: Tensor, level: Tensor, t: Tensor, real: Tensor, imag: Tensor) -> None:
    """Write x / |x| for planes (2, frames, bins), and 1 where x is zero."""
    torch.mul(x[0], x[0], out=level).addcmul_(x[1], x[1]).sqrt_()
    torch.eq(level, 0, out=t)  # 1 where x is zero, 0 elsewhere
    level.add_(t)
    torch.add(x[0], t, out=real).div_(level)
    torch.div(x[1], level, out=imag)
