r"""The Wiener filter for inference, in the memory layout of networks.

Formulas and symbols are those of :mod:`openunmix.filtering.gaussian`, on real and imaginary
parts, in blocks that stay in the cache. With one iteration the initial estimates all have the
phase of the mixture: :math:`y_{jc} = a_{jc}\, e^{i\theta_c}` with real :math:`a`, the residual
included. So the statistics need amplitudes and one product
:math:`\rho = e^{i(\theta_2 - \theta_1)}` for all:

.. math:: p_j \propto \sum_t a_{j1}^2, \quad p_j c_j \propto \sum_t a_{j1} a_{j2}\, \rho, \quad
    q_j \propto \sum_t |a_{j2}\, \rho - c_j a_{j1}|^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from openunmix.filtering.gaussian import _TINY, wiener

__all__ = ["WienerFilter"]


# Elements an operation works on: enough for torch to share them out among its threads, and few
# enough for the planes of a block to stay in the cache.
_BLOCK = 131072
_SHARED_PLANES = 12


class WienerFilter:
    """Wiener filter that keeps its working memory from call to call. Not differentiable.

    Two channels with one iteration on a CPU, the default of separation, have a path of their
    own; the rest goes through :func:`openunmix.filtering.gaussian.wiener`, block by block.

    Parameters
    ----------
    iterations, softmask, residual, scale_factor, eps
        As in :func:`openunmix.filtering.gaussian.wiener`.

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
        scale_factor: float = 10.0,
        eps: float = 1e-10,
    ) -> None:
        self.iterations = iterations
        self.softmask = softmask
        self.residual = residual
        self.scale_factor = scale_factor
        self.eps = eps
        self._estimates = torch.empty(0)
        self._stereo: _StereoFilter | None = None

    def __call__(self, magnitudes: Tensor, mixture: Tensor) -> Tensor:
        """Separate a mixture.

        Parameters
        ----------
        magnitudes : Tensor [shape=(sources, frames, channels, bins)], real, non-negative
            Magnitude of the STFT of every source.
        mixture : Tensor [shape=(frames, channels, bins)], complex
            STFT of the mixture.

        Returns
        -------
        Tensor [shape=(sources, frames, channels, bins)], complex
            STFTs of the sources, one more of them with ``residual``, in memory that the next
            call overwrites.

        Raises
        ------
        ValueError
            If the axes of ``magnitudes`` and ``mixture`` disagree.
        """
        if magnitudes.shape[1:] != mixture.shape:
            raise ValueError(
                f"magnitudes have shape (sources, frames, channels, bins)="
                f"{tuple(magnitudes.shape)} and the mixture {tuple(mixture.shape)}; give both the "
                "same frames, channels and bins"
            )
        # A buffer made in inference mode could not be written by a later call outside it.
        with torch.inference_mode(False), torch.no_grad():
            self._allocate(magnitudes, mixture)
            if self._is_special(mixture):
                if self._stereo is None or self._stereo.shape != self._estimates.shape:
                    self._stereo = _StereoFilter(self, self._estimates.shape)
                self._stereo(magnitudes, mixture, self._estimates)
            else:
                self._filter_blocks(magnitudes, mixture)
            return self._estimates

    def _is_special(self, mixture: Tensor) -> bool:
        """Tell whether the path for two channels and one iteration applies."""
        kind = (mixture.shape[1], self.iterations, mixture.dtype, mixture.device.type)
        return kind == (2, 1, torch.complex64, "cpu") and mixture.numel() > 0

    def _allocate(self, magnitudes: Tensor, mixture: Tensor) -> None:
        """Make the buffer of the estimates, unless there is one of this kind."""
        shape = (len(magnitudes) + self.residual, *mixture.shape)
        known = self._estimates
        if (known.shape, known.dtype, known.device) != (shape, mixture.dtype, mixture.device):
            self._estimates = torch.empty(shape, dtype=mixture.dtype, device=mixture.device)

    def _filter_blocks(self, magnitudes: Tensor, mixture: Tensor) -> None:
        """Filter with any number of channels and iterations."""
        scale = 1.0
        if self.iterations > 0 and mixture.numel() > 0:
            scale = max(1.0, mixture.abs().max().item() / self.scale_factor)
        frames, channels, bins = mixture.shape
        for block in _blocks(bins, 4 * _BLOCK // max(1, frames * channels)):
            m, x = magnitudes[..., block].permute(1, 3, 2, 0), mixture[..., block].transpose(1, 2)
            sources = wiener(
                m if self.softmask else m / scale,
                x / scale,
                self.iterations,
                softmask=self.softmask,
                residual=self.residual,
                scale_factor=math.inf,  # scaled already, by the maximum over all bins
                eps=self.eps,
            )
            torch.mul(sources.permute(3, 0, 2, 1), scale, out=self._estimates[..., block])


class _Planes(NamedTuple):
    """Working memory: some planes for all sources, and three lists with one each."""

    shared: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    third: list[Tensor]


class _StereoFilter:
    """Two channels and one iteration: buffers for one shape, and the three passes over them."""

    def __init__(self, options: WienerFilter, shape: Sequence[int]) -> None:
        self.shape = shape
        self.options = options
        sources, frames, _, bins = shape
        self.mixture = torch.empty(2, 2, frames, bins)  # channel, real or imaginary part
        self.factors = torch.empty(4, sources, bins)  # p/2, Re c, Im c, q/2
        self.scale = 1.0
        self.bin_blocks = _blocks(bins, max(16, _BLOCK // frames // 16 * 16))
        self.frame_blocks = _blocks(frames, _BLOCK // bins)
        width, height = self.bin_blocks[0].stop, self.frame_blocks[0].stop
        size = (_SHARED_PLANES + 3 * sources) * max(frames * width, height * bins)
        self.workspace = torch.empty(size)
        self.planes: dict[tuple[int, int], _Planes] = {}
        self.factor_rows = [factor.unbind() for factor in self.factors]

    def __call__(self, magnitudes: Tensor, mixture: Tensor, out: Tensor) -> None:
        """Write the estimates (sources, frames, 2, bins) into ``out``."""
        pairs = torch.view_as_real(mixture.resolve_conj())

        loudest = max(
            self._load(pairs[rows], self.mixture[:, :, rows]) for rows in self.frame_blocks
        )
        self.scale = max(1.0, loudest**0.5 / self.options.scale_factor)
        for columns in self.bin_blocks:
            m, x = magnitudes[..., columns], self.mixture[..., columns]
            self._factorize(m, x, self.factors[..., columns])
        for rows in self.frame_blocks:
            self._estimate(magnitudes[:, rows], self.mixture[:, :, rows], out[:, rows])

    def _planes(self, rows: int, columns: int) -> _Planes:
        """Cut the workspace into planes (rows, columns)."""
        key = (rows, columns)
        if key not in self.planes:
            count = _SHARED_PLANES + 3 * self.shape[0]
            space = self.workspace[: count * rows * columns]
            planes = list(space.view(count, rows, columns).unbind())
            of_sources = [planes[_SHARED_PLANES + i :: 3] for i in range(3)]
            self.planes[key] = _Planes(planes[:_SHARED_PLANES], *of_sources)
        return self.planes[key]

    def _load(self, pairs: Tensor, out: Tensor) -> float:
        """Take pairs (frames, 2, bins, 2) apart, and return the largest power."""
        loudest = 0.0
        power = self._planes(*out.shape[2:]).shared[0]
        for channel, (real, imaginary) in enumerate(out):
            real.copy_(pairs[:, channel, :, 0])
            imaginary.copy_(pairs[:, channel, :, 1])
            torch.mul(real, real, out=power).addcmul_(imaginary, imaginary)
            loudest = max(loudest, power.max().item())
        return loudest

    def _factorize(self, m: Tensor, x: Tensor, out: Tensor) -> None:
        """Write the factors of every source (4, sources, bins) for a block of bins."""
        shared, a1, real, imag = self._planes(*x.shape[2:])
        level, t, x1r, x1i, x2r, x2i, rho_r, rho_i = shared[:8]
        self._amplitudes(m[:, :, 0], x[0], a1, level, t)
        _phase(x[0], level, t, x1r, x1i)
        self._amplitudes(m[:, :, 1], x[1], real, level, t)
        _phase(x[1], level, t, x2r, x2i)
        torch.mul(x2r, x1r, out=rho_r).addcmul_(x2i, x1i)
        torch.mul(x2i, x1r, out=rho_i).addcmul_(x2r, x1i, value=-1)

        power, ratio_r, ratio_i, rest = out
        weight = torch.empty_like(power)
        sums = zip(a1, real, imag, power, weight, ratio_r, ratio_i, strict=True)
        for first, second_r, second_i, s_power, s_weight, s_real, s_imag in sums:
            torch.sum(torch.mul(first, first, out=t), 0, out=s_power)
            torch.sum(t.addcmul_(second_r, second_r), 0, out=s_weight)
            torch.mul(second_r, rho_i, out=second_i)
            second_r.mul_(rho_r)
            torch.sum(torch.mul(second_r, first, out=t), 0, out=s_real)
            torch.sum(torch.mul(second_i, first, out=t), 0, out=s_imag)
        weight.mul_(0.5).add_(self.options.eps)
        power.div_(weight).add_(_TINY)
        ratio_r.div_(weight).div_(power)
        ratio_i.div_(weight).div_(power)
        sums = zip(a1, real, imag, ratio_r, ratio_i, rest, strict=True)
        for first, second_r, second_i, c_real, c_imag, s_rest in sums:
            second_r.addcmul_(c_real, first, value=-1)
            second_i.addcmul_(c_imag, first, value=-1)
            torch.mul(second_r, second_r, out=t).addcmul_(second_i, second_i)
            torch.sum(t, 0, out=s_rest)
        rest.div_(weight).add_(ratio_r.square().addcmul_(ratio_i, ratio_i), alpha=_TINY).mul_(0.5)
        power.mul_(0.5)

    def _estimate(self, m: Tensor, x: Tensor, out: Tensor) -> None:
        """Write the estimates (sources, frames, 2, bins) for a block of frames."""
        shared, psd, spread_r, spread_i = self._planes(*x.shape[2:])
        t, u, mean_r, mean_i, total, total_rest, real, imag, hr, hi, gr, gi = shared
        self._amplitudes(m[:, :, 0], x[0], spread_r, u, t)
        self._amplitudes(m[:, :, 1], x[1], spread_i, u, t)
        for v, a1, a2 in zip(psd, spread_r, spread_i, strict=True):
            torch.mul(a1, a1, out=v).addcmul_(a2, a2)  # twice the psd; the factors are halved
        self._combine(psd, spread_r, spread_i, (mean_r, mean_i, total, total_rest, t))
        (x1r, x1i), (x2r, x2i) = x
        torch.addcmul(x2r, mean_r, x1r, value=-1, out=hr).addcmul_(mean_i, x1i).div_(total_rest)
        torch.addcmul(x2i, mean_r, x1i, value=-1, out=hi).addcmul_(mean_i, x1r, value=-1)
        hi.div_(total_rest)
        torch.mul(x1r, total, out=gr)
        torch.mul(x1i, total, out=gi)
        for v, dr, di, y, power, c_real, c_imag, rest in zip(
            psd, spread_r, spread_i, out, *self.factor_rows, strict=True
        ):
            torch.mul(v, power, out=t)
            torch.addcmul(gr, dr, hr, out=real).addcmul_(di, hi).mul_(t)
            torch.addcmul(gi, dr, hi, out=imag).addcmul_(di, hr, value=-1).mul_(t)
            torch.complex(real, imag, out=y[:, 0])
            v.mul_(rest)
            torch.mul(v, hr, out=t).addcmul_(c_real, real).addcmul_(c_imag, imag, value=-1)
            torch.mul(v, hi, out=u).addcmul_(c_real, imag).addcmul_(c_imag, real)
            torch.complex(t, u, out=y[:, 1])

    def _combine(
        self,
        psd: Sequence[Tensor],
        spread_r: Sequence[Tensor],
        spread_i: Sequence[Tensor],
        planes: Sequence[Tensor],
    ) -> None:
        """Write the spread of every source, and the mean ratio, 1 / P and Q of the mixture."""
        mean_r, mean_i, total, total_rest, t = planes
        power, ratio_r, ratio_i, rest = self.factor_rows
        noise = self.options.eps**0.5
        total.fill_(noise)
        mean_r.zero_()
        mean_i.zero_()
        for v, p, c_real, c_imag in zip(psd, power, ratio_r, ratio_i, strict=True):
            torch.mul(v, p, out=t)
            total.add_(t)
            mean_r.addcmul_(t, c_real)
            mean_i.addcmul_(t, c_imag)
        total.reciprocal_()
        mean_r.mul_(total)
        mean_i.mul_(total)
        torch.mul(mean_r, mean_r, out=total_rest).addcmul_(mean_i, mean_i).add_(1.0).mul_(noise)
        for v, dr, di, p, c_real, c_imag, q in zip(
            psd, spread_r, spread_i, power, ratio_r, ratio_i, rest, strict=True
        ):
            torch.sub(c_real, mean_r, out=dr)
            torch.sub(c_imag, mean_i, out=di)
            torch.mul(dr, dr, out=t).addcmul_(di, di)
            total_rest.addcmul_(v, torch.addcmul(q, t, p, out=t))

    def _amplitudes(
        self, m: Tensor, x: Tensor, out: Sequence[Tensor], level: Tensor, t: Tensor
    ) -> None:
        """Write the scaled amplitudes of the initial estimates of one channel."""
        if self.options.softmask or self.options.residual:
            torch.mul(x[0], x[0], out=level).addcmul_(x[1], x[1]).sqrt_().mul_(1 / self.scale)
        if self.options.softmask:
            t.fill_(self.options.eps)
            for magnitude in m:
                t.add_(magnitude)
            torch.div(level, t, out=t)
        for magnitude, amplitude in zip(m, out, strict=False):
            torch.mul(magnitude, t if self.options.softmask else 1 / self.scale, out=amplitude)
        if self.options.residual:
            for amplitude in out[:-1]:
                level.sub_(amplitude)
            out[-1].copy_(level)


def _blocks(length: int, step: int) -> list[slice]:
    """Cut an axis into blocks of a step, or of 1 where the step is less; the last may be less."""
    step = max(1, step)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _phase(x: Tensor, level: Tensor, t: Tensor, real: Tensor, imag: Tensor) -> None:
    """Write the complex number of absolute value 1 and the angle of x (2, ...), 1 at zero."""
    torch.mul(x[0], x[0], out=level).addcmul_(x[1], x[1]).sqrt_()
    torch.eq(level, 0, out=t)
    level.add_(t)
    torch.add(x[0], t, out=real).div_(level)
    torch.div(x[1], level, out=imag)
