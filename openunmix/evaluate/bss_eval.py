r"""BSS Eval, version 4: what part of an estimate is distortion, interference and artifacts.

An estimate :math:`e` of a source :math:`s` is compared with two projections of it by least
squares: :math:`P_s`, on all filters of 512 taps applied to the channels of its own reference, and
:math:`P`, on those applied to the channels of all references. The measures are ten times the
logarithm of

====  ==================  ===================================
SDR   all errors          :math:`|s|^2 / |e - s|^2`
ISR   spatial distortion  :math:`|s|^2 / |P_s e - s|^2`
SIR   interference        :math:`|P_s e|^2 / |P e - P_s e|^2`
SAR   artifacts           :math:`|P e|^2 / |e - P e|^2`
====  ==================  ===================================

The filters are estimated once on the whole signal, the energies taken in windows of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BssEval", "bss_eval"]

# Samples of the transforms that correlations are computed with.
_N_FFT = 16384

_EPS = torch.finfo(torch.float64).eps


class BssEval(NamedTuple):
    """Scores in dB: four tensors (targets, frames), float64.

    A frame is NaN for all targets if one of the references or estimates is silent in it. A ratio
    without any error is ``inf``.

    Attributes
    ----------
    sdr : Tensor
        Source to distortion ratio: all errors together.
    isr : Tensor
        Source image to spatial distortion ratio.
    sir : Tensor
        Source to interference ratio.
    sar : Tensor
        Sources to artifacts ratio.
    """

    sdr: Tensor
    isr: Tensor
    sir: Tensor
    sar: Tensor


def bss_eval(
    references: Tensor | Sequence[Tensor],
    estimates: Tensor | Sequence[Tensor],
    sample_rate: float = 44100,
    window: float = 1.0,
    hop: float = 1.0,
    filter_length: int = 512,
) -> BssEval:
    r"""SDR, ISR, SIR and SAR of BSS Eval v4 [1]_, the measure of the SiSEC campaigns.

    The numbers are those of ``museval`` 0.4.1 in its default mode, where these are defined;
    its definitions go back to [2]_. By custom the score of a track is the median over its frames,
    and that of a system the median over tracks.

    Parameters
    ----------
    references : Tensor [shape=(targets, channels, samples)], real
        The true sources, all that there are in the mixture: what is in an estimate and in none of
        them counts as artifact. A list of tensors (channels, samples) saves copying them into one.
    estimates : Tensor [shape=(targets, channels, samples)], real
        Their estimates, in the same order; or a list of them.
    sample_rate : float > 0
        Hz.
    window, hop : float > 0
        Length of the frames and distance between their starts, in seconds. A signal that is
        shorter than the window is one frame; one that is longer loses what does not fill one.
    filter_length : int > 0
        Taps of the distortion filters; 512 are 12 ms at 44.1 kHz.

    Returns
    -------
    BssEval
        The scores of every target and frame.

    Raises
    ------
    ValueError
        If the shapes differ or are empty, a value is not finite, or one of the references or
        estimates is silent throughout: the measure is not defined then.

    Notes
    -----
    All estimates share one system of equations, which is solved once. It is made of correlations
    up to 511 samples, which are sums over blocks, so that memory grows with the length of a window
    but not of the signal: about 0.5 GB beside the signals for four stereo targets. Energies are
    taken from the spectra of the windows (Parseval), without transforming anything back.

    References
    ----------
    .. [1] F.-R. Stöter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
       LVA/ICA 2018.
    .. [2] E. Vincent et al., "The signal separation evaluation campaign (2007-2010): Achievements
       and remaining challenges", Signal Processing 92(8):1928-1936, 2012.

    Examples
    --------
    Half of the other source leaks into each estimate, which is 6 dB of interference:

    >>> _ = torch.manual_seed(0)
    >>> references = torch.randn(2, 2, 16000)
    >>> scores = bss_eval(references, references + 0.5 * references.flip(0), sample_rate=8000)
    >>> scores.sir.round()
    tensor([[6., 6.],
            [6., 6.]], dtype=torch.float64)
    """
    _check(references, estimates)
    samples = references[0].shape[-1]
    if not (sample_rate > 0 and window > 0 and hop > 0 and filter_length > 0):
        raise ValueError(
            f"sample_rate={sample_rate}, window={window}, hop={hop} and filter_length="
            f"{filter_length} must be positive"
        )
    length, step = int(window * sample_rate), int(hop * sample_rate)
    if min(length, step) < 1:
        raise ValueError(f"window={window} s or hop={hop} s is less than a sample")
    length = min(length, samples)
    frames = (samples - length) // step + 1
    n_fft = _fast_size(length + filter_length - 1)  # a window and what the filters add to it
    filters = _Filters(references, estimates, filter_length, n_fft)
    scores = torch.full((4, len(references), frames), torch.nan, dtype=torch.float64)
    for frame in range(frames):
        part = slice(frame * step, frame * step + length)
        reference, estimate = _part(references, part), _part(estimates, part)
        if not (_is_silent(reference).any() or _is_silent(estimate).any()):
            scores[:, :, frame] = _ratios(reference, estimate, filters).cpu()
    return BssEval(*scores)


def _part(signals: Tensor | Sequence[Tensor], part: slice) -> Tensor:
    """Return a part of all signals (..., samples), in double precision."""
    return torch.stack([signal[..., part] for signal in signals]).double()


def _check(references: Tensor | Sequence[Tensor], estimates: Tensor | Sequence[Tensor]) -> None:
    """Raise ValueError for signals that cannot be compared."""
    true, given = (
        [tuple(signal.shape) for signal in signals] for signals in (references, estimates)
    )
    if true != given or len(set(true)) != 1 or len(true[0]) != 2 or 0 in true[0]:
        raise ValueError(
            f"references have shapes {true}, estimates {given}; all must be (channels, samples), "
            "the same and not empty"
        )
    for name, signals in (("reference", references), ("estimate", estimates)):
        for number, signal in enumerate(signals):
            if not signal.sum().isfinite():
                raise ValueError(f"{name} {number} has values that are not finite")
            if _is_silent(signal):
                raise ValueError(
                    f"{name} {number} is silent; BSS Eval is not defined then: leave it out"
                )


def _is_silent(signal: Tensor) -> Tensor:
    """Whether the sum over channels (..., channels, samples) is zero all along.

    Channels that cancel count as silence: this is museval's rule.
    """
    return ~signal.sum(dim=-2).any(dim=-1)


def _fast_size(least: int) -> int:
    """Return a multiple of 512 from here on with no prime factor above 5: its FFT is fast."""
    count = -(-least // 512)
    while True:
        rest = count
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return 512 * count
        count += 1


class _Filters:
    """The distortion filters of a track, as spectra of ``n_fft`` samples.

    ``full`` takes all channels of all references to those of the estimates, of shape
    (bins, targets * channels, targets * channels); ``own`` the channels of a reference to those
    of its own estimate, of shape (inputs, targets, outputs, bins).
    """

    def __init__(
        self,
        references: Tensor | Sequence[Tensor],
        estimates: Tensor | Sequence[Tensor],
        taps: int,
        n_fft: int,
    ) -> None:
        true = [channel for reference in references for channel in reference]
        given = [channel for estimate in estimates for channel in estimate]
        targets, size = len(references), len(true)
        channels = size // targets
        self.n_fft = n_fft
        # Channels that repeat another of their source add no direction to project on.
        kept = [row for row in range(size) if not _repeats(true, row, row % channels)]
        correlations = _correlations([true[row] for row in kept], given, taps)
        gram = _gram(correlations[:, : len(kept)])
        right = correlations[:, len(kept) :].transpose(1, 2)  # (inputs, taps, outputs)

        own = right.new_zeros(size, taps, channels)
        for target in range(targets):
            chosen = [number for number, row in enumerate(kept) if row // channels == target]
            part = slice(target * channels, (target + 1) * channels)
            solution = _solve(gram[chosen][:, :, chosen], right[chosen][..., part])
            own[[kept[number] for number in chosen]] = solution
        own = own.reshape(targets, channels, taps, channels).permute(1, 0, 3, 2)
        self.own = torch.fft.rfft(own, n_fft)

        full = right.new_zeros(size, taps, size)
        full[kept] = _solve(gram, right)
        self.full = torch.fft.rfft(full.permute(2, 0, 1), n_fft).permute(2, 0, 1).contiguous()


def _repeats(rows: Sequence[Tensor], row: int, channel: int) -> bool:
    """Whether a channel, one of the rows, is the same as an earlier one of its source."""
    return any(torch.equal(rows[row], earlier) for earlier in rows[row - channel : row])


def _correlations(inputs: Sequence[Tensor], outputs: Sequence[Tensor], taps: int) -> Tensor:
    """Sum ``a[i, n] * b[k, n + lag]`` over n: (i, k, lags), lags from 0 on.

    The rows of a are the inputs, those of b the inputs and outputs.
    """
    rows = [*inputs, *outputs]
    n_fft = max(_N_FFT, _fast_size(4 * taps))
    size = n_fft - taps + 1
    total = rows[0].new_zeros(len(inputs), len(rows), n_fft // 2 + 1, dtype=torch.complex128)
    for start in range(0, len(rows[0]), size):
        signals = _part(rows, slice(start, start + n_fft))
        block = torch.fft.rfft(signals[: len(inputs), :size], n_fft)
        total.addcmul_(block.conj().resolve_conj()[:, None], torch.fft.rfft(signals, n_fft))
    lags: Tensor = torch.fft.irfft(total, n_fft)
    return lags[..., :taps]


def _gram(correlations: Tensor) -> Tensor:
    """Return inner products of all delayed signals: (i, k, lags) to (i, delay, k, delay).

    Signal i delayed by a and signal k delayed by b have the product of lag a - b.
    """
    taps = correlations.shape[-1]
    # Lags from taps - 1 down to 1 - taps; each delay sees its own part of them.
    lags = torch.cat([correlations.flip(-1), correlations.transpose(0, 1)[..., 1:]], dim=-1)
    return torch.stack([lags[..., taps - 1 - a : 2 * taps - 1 - a] for a in range(taps)], dim=1)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """Solve the equations of least squares, (inputs, taps, outputs), also if they are singular.

    Then the solution is one of many, of which this is a small one: all project alike. ``gram`` is
    overwritten, since it is large.
    """
    size = right.shape[0] * right.shape[1]
    system = gram.reshape(size, size)
    ridge = _EPS
    system.diagonal().add_(ridge)
    while (result := torch.linalg.cholesky_ex(system, upper=True)).info:
        ridge = max(10 * ridge, _EPS * float(system.diagonal().max()))
        system.diagonal().add_(ridge)
    # Two triangular systems are solved several times as fast as by cholesky_solve.
    half = torch.linalg.solve_triangular(result.L.mT, right.reshape(size, -1), upper=False)
    solution: Tensor = torch.linalg.solve_triangular(result.L, half, upper=True)
    return solution.reshape(right.shape)


def _ratios(reference: Tensor, estimate: Tensor, filters: _Filters) -> Tensor:
    """Return the four ratios of one window: (4, targets)."""
    true = torch.fft.rfft(reference, filters.n_fft)  # (targets, channels, bins)
    given = torch.fft.rfft(estimate, filters.n_fft)
    own = torch.zeros_like(true)
    for channel in range(true.shape[1]):
        own.addcmul_(filters.own[channel], true[:, channel, None])
    columns = true.flatten(0, 1).T.contiguous()[..., None]
    full = torch.bmm(filters.full, columns)[..., 0].T.reshape(true.shape)
    source = reference.square().sum(dim=(1, 2))
    ratios = [
        _decibels(source, (estimate - reference).square().sum(dim=(1, 2))),
        _decibels(source, _energy(own - true, filters.n_fft)),
        _decibels(_energy(own, filters.n_fft), _energy(full - own, filters.n_fft)),
        _decibels(_energy(full, filters.n_fft), _energy(given - full, filters.n_fft)),
    ]
    return torch.stack(ratios)


def _energy(spectra: Tensor, n_fft: int) -> Tensor:
    """Return the energy of signals by their spectra (..., channels, bins): (...)."""
    # All bins but the first and the last stand for two.
    once = spectra[..., [0, -1]].abs().square().sum(dim=(-2, -1))
    values = torch.view_as_real(spectra).flatten(-3)
    total = (values[..., None, :] @ values[..., None])[..., 0, 0]
    return (2 * total - once) / n_fft


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """Return a ratio in dB; inf where there is no error."""
    return torch.where(error == 0, torch.inf, 10 * torch.log10(signal / error))
