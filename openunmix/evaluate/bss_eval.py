r"""BSS Eval, version 4: the distortion, interference and artifacts in an estimate.

An estimate :math:`e` of a source :math:`s` is compared with two least-squares projections:
:math:`P_s e`, onto the channels of its own reference, each delayed by 0 to 511 samples, and
:math:`P e`, onto the channels of all references, delayed likewise. The metrics are ten times the
logarithm of

====  ==================  ===================================
SDR   all errors          :math:`|s|^2 / |e - s|^2`
ISR   spatial distortion  :math:`|s|^2 / |P_s e - s|^2`
SIR   interference        :math:`|P_s e|^2 / |P e - P_s e|^2`
SAR   artifacts           :math:`|P e|^2 / |e - P e|^2`
====  ==================  ===================================

A projection is a set of FIR filters of 512 taps, which are estimated once on the whole signal; the
energies are those of windows of one second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_N_FFT = 16384  # samples of a block of the correlations

_EPS = torch.finfo(torch.float64).eps


class BssEval(NamedTuple):
    """Scores in dB: four tensors (targets, frames), float64.

    A frame is NaN for all targets if one of the references or estimates is silent in it. A ratio
    is ``inf`` where there is no error.
    """

    sdr: Tensor  #: source-to-distortion ratio: all errors together
    isr: Tensor  #: source-image-to-spatial-distortion ratio
    sir: Tensor  #: source-to-interference ratio
    sar: Tensor  #: sources-to-artifacts ratio


def bss_eval(
    references: Tensor | Sequence[Tensor],
    estimates: Tensor | Sequence[Tensor],
    sample_rate: float = 44100,
    window: float = 1.0,
    hop: float = 1.0,
    filter_length: int = 512,
) -> BssEval:
    r"""SDR, ISR, SIR and SAR of BSS Eval v4 [1]_, the metrics of the SiSEC campaigns.

    The scores are those of ``museval`` 0.4.1 in its default mode; the definitions go back to [2]_.
    By convention the score of a track is the median over its frames, and the score of a system the
    median over tracks.

    Signals are (targets, channels, samples), or lists of (channels, samples), which save a copy.
    ``references`` has all sources of the mixture: anything in an estimate that is in none of them
    counts as an artifact. A signal that is silent throughout is a ValueError, as the metrics are
    undefined for it. ``window`` and ``hop`` of the frames are in seconds; a signal shorter
    than the window is one frame, an incomplete last frame is dropped. ``filter_length`` is the
    number of taps of the distortion filters; 512 are 12 ms at 44.1 kHz.

    All estimates share one system of normal equations. Its correlations are summed over blocks, so
    that memory grows with the length of a window but not of the signal: about 0.5 GB beside the
    signals for four stereo targets.

    .. [1] F.-R. Stöter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
       LVA/ICA 2018.
    .. [2] E. Vincent et al., "The signal separation evaluation campaign (2007-2010): Achievements
       and remaining challenges", Signal Processing 92(8):1928-1936, 2012.

    Half of the other source leaks into each estimate, which is 6 dB of interference:

    >>> _ = torch.manual_seed(0)
    >>> references = torch.randn(2, 2, 16000)
    >>> scores = bss_eval(references, references + 0.5 * references.flip(0), sample_rate=8000)
    >>> scores.sir.round()
    tensor([[6., 6.],
            [6., 6.]], dtype=torch.float64)
    """
    _check(references, estimates)
    if not (sample_rate > 0 and window > 0 and hop > 0 and filter_length > 0):
        raise ValueError(
            f"sample_rate={sample_rate}, window={window}, hop={hop} and filter_length="
            f"{filter_length} must be positive"
        )
    length, step = int(window * sample_rate), int(hop * sample_rate)
    if min(length, step) < 1:
        raise ValueError(f"window={window} s or hop={hop} s is less than a sample")
    samples = references[0].shape[-1]
    length = min(length, samples)
    frames = (samples - length) // step + 1
    # A filtered window is longer by filter_length - 1; zero padding keeps it from wrapping around.
    n_fft = _fast_size(length + filter_length - 1)
    filters = _Filters(references, estimates, filter_length, n_fft)
    scores = torch.full((4, len(references), frames), torch.nan, dtype=torch.float64)
    for frame in range(frames):
        part = slice(frame * step, frame * step + length)
        reference, estimate = _part(references, part), _part(estimates, part)
        if not (_is_silent(reference).any() or _is_silent(estimate).any()):
            scores[:, :, frame] = _ratios(reference, estimate, filters).cpu()
    return BssEval(*scores)


def _part(signals: Tensor | Sequence[Tensor], part: slice) -> Tensor:
    """Part of all signals (..., samples), stacked in double precision."""
    return torch.stack([signal[..., part] for signal in signals]).double()


def _check(references: Tensor | Sequence[Tensor], estimates: Tensor | Sequence[Tensor]) -> None:
    """Raise ValueError for signals that cannot be compared."""
    shapes, other_shapes = (
        [tuple(signal.shape) for signal in signals] for signals in (references, estimates)
    )
    if shapes != other_shapes or len({*shapes}) != 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(
            f"references have shapes {shapes}, estimates {other_shapes}; all must be "
            "(channels, samples), the same and not empty"
        )
    for name, signals in (("reference", references), ("estimate", estimates)):
        for number, signal in enumerate(signals):
            if not signal.sum().isfinite():
                raise ValueError(f"{name} {number} has values that are not finite")
            if _is_silent(signal):
                raise ValueError(
                    f"{name} {number} is silent, for which BSS Eval is undefined: leave it out"
                )


def _is_silent(signal: Tensor) -> Tensor:
    """Whether the sum over channels (..., channels, samples) is zero at all samples: (...)."""
    # museval's rule; channels that cancel count as silence, too.
    return ~signal.sum(dim=-2).any(dim=-1)


def _fast_size(least: int) -> int:
    """Smallest multiple of 512 from ``least`` on without prime factors above 5: its FFT is fast."""
    count = -(-least // 512)
    while 30 ** count.bit_length() % count:  # count divides a power of 30 = 2 * 3 * 5
        count += 1
    return 512 * count


class _Filters:
    """The distortion filters of a track, as spectra of ``n_fft`` samples.

    ``full`` maps all channels of all references to those of the estimates, of shape
    (bins, outputs, inputs), both being targets * channels; ``own`` maps the channels of a reference
    to those of its own estimate, of shape (inputs, targets, outputs, bins), both being channels.
    """

    def __init__(
        self,
        references: Tensor | Sequence[Tensor],
        estimates: Tensor | Sequence[Tensor],
        taps: int,
        n_fft: int,
    ) -> None:
        inputs = [channel for reference in references for channel in reference]
        outputs = [channel for estimate in estimates for channel in estimate]
        targets, size = len(references), len(inputs)
        channels = size // targets
        self.n_fft = n_fft
        # A channel equal to another of its source, as in a mono stem, adds no direction to project
        # on and would make the equations singular: its filters are zero.
        kept = []
        for row, signal in enumerate(inputs):
            earlier = inputs[row - row % channels : row]
            if not any(torch.equal(signal, other) for other in earlier):
                kept.append(row)
        correlations = _correlations([inputs[row] for row in kept], outputs, taps)
        # Normal equations G h = r of the least-squares filters h: G is the Gram matrix of the
        # delayed references, r their inner products with the estimates.
        gram = _gram(correlations[:, : len(kept)])
        right = correlations[:, len(kept) :].transpose(1, 2)  # (inputs, taps, outputs)

        # P_s: a diagonal block of the equations for each target.
        own = right.new_zeros(size, taps, channels)
        for target in range(targets):
            chosen = [number for number, row in enumerate(kept) if row // channels == target]
            part = slice(target * channels, (target + 1) * channels)
            solution = _solve(gram[chosen][:, :, chosen], right[chosen][..., part])
            own[[kept[number] for number in chosen]] = solution
        own = own.reshape(targets, channels, taps, channels).permute(1, 0, 3, 2)
        self.own = torch.fft.rfft(own, n_fft)

        # P: all equations together, for the estimates of all targets at once.
        full = right.new_zeros(size, taps, size)
        full[kept] = _solve(gram, right)
        self.full = torch.fft.rfft(full.permute(2, 0, 1), n_fft).permute(2, 0, 1).contiguous()


def _correlations(inputs: Sequence[Tensor], outputs: Sequence[Tensor], taps: int) -> Tensor:
    """Cross-correlations of the inputs with inputs and outputs: (inputs, rows, lags from 0)."""
    rows = [*inputs, *outputs]
    n_fft = max(_N_FFT, _fast_size(4 * taps))
    # r_ik(l) = sum_n s_i(n) s_k(n + l), as a sum over blocks of n: a block of s_i with taps - 1
    # zeros after it meets one of s_k with the taps - 1 samples after it. The circular correlation
    # of the two, conj(S_i) S_k in the frequency domain, has no wrap-around at lags below taps.
    size = n_fft - taps + 1
    total = rows[0].new_zeros(len(inputs), len(rows), n_fft // 2 + 1, dtype=torch.complex128)
    for start in range(0, len(rows[0]), size):
        signals = _part(rows, slice(start, start + n_fft))
        block = torch.fft.rfft(signals[: len(inputs), :size], n_fft)
        total.addcmul_(block.conj().resolve_conj()[:, None], torch.fft.rfft(signals, n_fft))
    # The inverse transform is linear, so that one is enough for all blocks.
    lags: Tensor = torch.fft.irfft(total, n_fft)
    return lags[..., :taps]


def _gram(correlations: Tensor) -> Tensor:
    """Gram matrix of delayed signals from correlations (i, k, lags): (i, delay, k, delay)."""
    # sum_n s_i(n - a) s_k(n - b) = r_ik(a - b): the matrix is block Toeplitz.
    taps = correlations.shape[-1]
    # Lags from taps - 1 down to 1 - taps, with r_ik(-l) = r_ki(l). For the delay a, the lags
    # a, a - 1 ... of b = 0, 1 ... start at position taps - 1 - a.
    lags = torch.cat([correlations.flip(-1), correlations.transpose(0, 1)[..., 1:]], dim=-1)
    return torch.stack([lags[..., taps - 1 - a : 2 * taps - 1 - a] for a in range(taps)], dim=1)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """Solution (inputs, taps, outputs) of the normal equations; overwrites ``gram``, a large one.

    Singular equations have many solutions, of which this is a small one; all project alike.
    """
    size = right.shape[0] * right.shape[1]
    system = gram.reshape(size, size)
    # Without energy in some band, as above the cut-off of an MP3, G is singular to working
    # precision. The ridge grows tenfold until G has a Cholesky factor.
    ridge = _EPS
    system.diagonal().add_(ridge)
    while (result := torch.linalg.cholesky_ex(system, upper=True)).info:
        ridge = max(10 * ridge, _EPS * float(system.diagonal().max()))
        system.diagonal().add_(ridge)
    # G = U^T U: solve U^T y = r, then U h = y. This is several times as fast as cholesky_solve.
    half = torch.linalg.solve_triangular(result.L.mT, right.reshape(size, -1), upper=False)
    solution: Tensor = torch.linalg.solve_triangular(result.L, half, upper=True)
    return solution.reshape(right.shape)


def _ratios(reference: Tensor, estimate: Tensor, filters: _Filters) -> Tensor:
    """SDR, ISR, SIR and SAR of one window of all targets: (4, targets)."""
    s = torch.fft.rfft(reference, filters.n_fft)  # (targets, channels, bins)
    e = torch.fft.rfft(estimate, filters.n_fft)
    # P_s e: each output channel is the sum over the reference's own channels, filtered.
    own = torch.zeros_like(s)
    for channel in range(s.shape[1]):
        own.addcmul_(filters.own[channel], s[:, channel, None])
    # P e: in each bin, the matrix of all filters times the vector of all references.
    columns = s.flatten(0, 1).T.contiguous()[..., None]
    full = torch.bmm(filters.full, columns)[..., 0].T.reshape(s.shape)
    source = reference.square().sum(dim=(1, 2))
    ratios = [
        _decibels(source, (estimate - reference).square().sum(dim=(1, 2))),
        _decibels(source, _energy(own - s, filters.n_fft)),
        _decibels(_energy(own, filters.n_fft), _energy(full - own, filters.n_fft)),
        _decibels(_energy(full, filters.n_fft), _energy(e - full, filters.n_fft)),
    ]
    return torch.stack(ratios)


def _energy(spectra: Tensor, n_fft: int) -> Tensor:
    """Energy (...) of real signals from their one-sided spectra (..., channels, bins)."""
    # Parseval: sum_n |x(n)|^2 = 1/N sum_k |X(k)|^2. Bins k and N - k are equal, so that all but the
    # first and the last count twice.
    once = spectra[..., [0, -1]].abs().square().sum(dim=(-2, -1))
    # |X|^2 summed as an inner product of real and imaginary parts, which is the fastest way.
    values = torch.view_as_real(spectra).flatten(-3)
    total = (values[..., None, :] @ values[..., None])[..., 0, 0]
    return (2 * total - once) / n_fft


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """Ratio in dB; inf without an error."""
    return torch.where(error == 0, torch.inf, 10 * torch.log10(signal / error))
