r"""Losses: pure functions, and two tables of names.

Magnitudes and STFTs have the axes (frames, batch, channels, bins), as recurrent layers take them,
and waveforms (batch, channels, samples). Every function returns a mean over the batch.

An estimate is the mixture's STFT :math:`X` times a real mask :math:`M_j`, so its phase is that of
the mixture; :math:`S_j` is the STFT of source :math:`j`, and :math:`s_j`, :math:`x` are waveforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from openunmix.training.spectrograms import SpectrogramBatch
from openunmix.transforms.fourier import magnitude

# Weight of the waveforms' part in the multi-domain loss, as published.
_WAVEFORM_WEIGHT = 10.0


def normalized_mse(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    r"""Squared error of magnitudes, normalised by the power of each mixture.

    .. math:: \mathrm{mean}_b \frac{\sum (|S_j| - M_j |X|)^2}{\sum |X|^2 + 10^{-3} \bar P}

    with sums over an excerpt and the mean power :math:`\bar P` of the batch, so that quiet
    excerpts count as much as loud ones, and silent ones hardly.
    """
    axes = (0, 2, 3)  # all but the batch
    power = mixture.square().sum(dim=axes)
    error = (reference - estimate).square().sum(dim=axes)
    return (error / (power + 1e-3 * power.mean() + 1e-8)).mean()


def normalized_mse_sqrt(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    """Normalised error of square roots of magnitudes: quiet bins and excerpts count more."""
    # The square root has no finite slope at 0.
    return normalized_mse(*((part + 1e-4).sqrt() for part in (reference, estimate, mixture)))


def in_phase(source: Tensor, mixture: Tensor, magnitude: Tensor) -> Tensor:
    r"""Part of a source in phase with the mixture, :math:`\mathrm{Re}(S_j X^*) / |X|`, by bin.

    The reference of phase-sensitive losses: as an estimate has the mixture's phase,
    :math:`|S_j - M_j X|^2` is :math:`(\mathrm{Re}(S_j X^*) / |X| - M_j |X|)^2` and something that
    the mask does not change. It is negative where the source is out of phase, and 0 where the
    mixture, of this ``magnitude``, is silent. H. Erdogan, J. R. Hershey, S. Watanabe, J. Le Roux,
    "Phase-sensitive and recognition-boosted speech separation using deep recurrent neural
    networks", ICASSP, 2015.
    """
    product = source.real * mixture.real + source.imag * mixture.imag  # Re(S X*)
    return product / magnitude.clamp(min=1e-8)


def weighted_sdr(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    r"""Weighted source-to-distortion ratio of waveforms, from -1 (perfect) to 1.

    .. math:: -\rho \frac{\langle s, \hat s \rangle}{\|s\| \|\hat s\|}
        - (1 - \rho) \frac{\langle x - s, x - \hat s \rangle}{\|x - s\| \|x - \hat s\|},
        \qquad \rho = \frac{\|s\|^2}{\|s\|^2 + \|x - s\|^2}.

    The channels of an excerpt are taken as one signal. H.-S. Choi, J.-H. Kim, J. Huh, A. Kim,
    J.-W. Ha, K. Lee, "Phase-aware speech enhancement with deep complex U-Net", ICLR, 2019.
    """
    s, estimated, x = reference.flatten(1), estimate.flatten(1), mixture.flatten(1)
    power, rest = s.square().sum(dim=-1), (x - s).square().sum(dim=-1)
    share = power / (power + rest + 1e-8)  # rho
    return -(share * _cosine(s, estimated) + (1 - share) * _cosine(x - s, x - estimated)).mean()


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of the angle between signals (batch, samples), 0 for silence."""
    norms = one.square().sum(dim=-1) * other.square().sum(dim=-1)
    return (one * other).sum(dim=-1) * (norms + 1e-8).rsqrt()


def source_combinations(count: int) -> list[tuple[int, ...]]:
    """List the combinations of some, but not all, of ``count`` sources, single ones first."""
    sizes = range(1, max(count, 2))
    return [chosen for size in sizes for chosen in combinations(range(count), size)]


_Compared = tuple[Tensor, Tensor, Tensor]  # reference, estimate and mixture


def _masked(
    batch: SpectrogramBatch, reference: Tensor, mask: Tensor, chosen: Sequence[int]
) -> _Compared:
    """Return reference, estimate and mixture magnitude, up to the bandwidth of the sources."""
    mixture = batch.limited(batch.magnitude, chosen)
    return batch.limited(reference, chosen), mask * mixture, mixture


def _magnitudes(batch: SpectrogramBatch, mask: Tensor, chosen: Sequence[int]) -> _Compared:
    """Magnitudes of the sum of chosen sources, its estimate and the mixture."""
    return _masked(batch, magnitude(batch.sum_of(chosen)), mask, chosen)


def _phase_sensitive(
    batch: SpectrogramBatch, mask: Tensor, source: int, limits: Sequence[int]
) -> Tensor:
    """Normalised error of a source in phase with the mixture, up to the bandwidth of `limits`."""
    reference = in_phase(batch.sum_of([source]), batch.mixture, batch.magnitude)
    return normalized_mse(*_masked(batch, reference, mask, limits))


def _waveforms(batch: SpectrogramBatch, mask: Tensor, chosen: Sequence[int]) -> _Compared:
    """Waveforms of the sum of chosen sources, its estimate and the mixture."""
    mixture = batch.limited(batch.mixture, chosen)
    reference = batch.limited(batch.sum_of(chosen), chosen)
    return batch.waveform(reference), batch.waveform(mask * mixture), batch.waveform(mixture)


def multi_domain(batch: SpectrogramBatch, masks: Sequence[Tensor]) -> list[Tensor]:
    """Multi-domain loss of combinations of sources, as for CrossNet-Open-Unmix.

    The mean squared error of magnitudes plus ten times the weighted SDR, for each of
    :func:`source_combinations`; the estimate of a combination is the sum of its sources' ones.
    R. Sawata, S. Uhlich, S. Takahashi, Y. Mitsufuji, "All for one and one for all: Improving music
    separation by bridging networks", ICASSP, 2021.
    """
    losses = []
    for chosen in source_combinations(len(masks)):
        mask = torch.stack([masks[index] for index in chosen]).sum(dim=0)
        reference, estimate, _ = _magnitudes(batch, mask, chosen)
        ratio = weighted_sdr(*_waveforms(batch, mask, chosen))
        losses.append(functional.mse_loss(estimate, reference) + _WAVEFORM_WEIGHT * ratio)
    return losses


def wiener_gains(magnitude: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
    r"""Gains (frames, batch, 1, bins) of a single-channel Wiener filter, from all masks.

    .. math:: G_j = \frac{\sum_c M_{jc}^2 |X_c|^2}
        {\sum_k \sum_c M_{kc}^2 |X_c|^2 + 10^{-6} \sum_c |X_c|^2}

    with sums over channels :math:`c`: the filter of :mod:`openunmix.filtering.gaussian` without
    spatial covariances. The gains sum to hardly less than 1.
    """
    powers = [(mask * magnitude).square().sum(dim=2, keepdim=True) for mask in masks]
    mixture = magnitude.square().sum(dim=2, keepdim=True)
    total = torch.stack(powers).sum(dim=0) + 1e-6 * mixture + 1e-12
    return [power / total for power in powers]


def wiener_loss(
    batch: SpectrogramBatch, masks: Sequence[Tensor], sqrt: bool = False
) -> list[Tensor]:
    """Normalised error of the estimates, plus phase-sensitive error after a Wiener filter.

    The networks learn what they are used for: the filter of the separator, which gives each source
    what the others leave. It only compares estimates, so their scale comes from the first part.
    The sources must sum to the mixture. With ``sqrt``, the error of square roots after the filter
    is added.
    """
    losses, every = [], range(len(masks))
    for j, gain in enumerate(wiener_gains(batch.magnitude, masks)):
        alone = normalized_mse(*_magnitudes(batch, masks[j], [j]))
        # Up to the least bandwidth: where one source is unknown, so is what it leaves to others.
        together = _phase_sensitive(batch, gain, j, every)
        if sqrt:
            reference = magnitude(batch.sum_of([j]))
            together = together + normalized_mse_sqrt(*_masked(batch, reference, gain, every))
        losses.append(alone + together)
    return losses


#: From a batch, a mask and the index of its source to a loss, by name.
SINGLE_TARGET_LOSSES: dict[str, Callable[[SpectrogramBatch, Tensor, int], Tensor]] = {
    # mean (|S_j| - M_j |X|)^2, the loss of openunmix 1.3.0; loud excerpts and bins count most
    "mse": lambda batch, mask, j: functional.mse_loss(*_magnitudes(batch, mask, [j])[:2]),
    "normalized-mse": lambda batch, mask, j: normalized_mse(*_magnitudes(batch, mask, [j])),
    "normalized-mse-sqrt": lambda batch, mask, j: (
        normalized_mse(*(parts := _magnitudes(batch, mask, [j]))) + normalized_mse_sqrt(*parts)
    ),
    "phase-sensitive": lambda batch, mask, j: _phase_sensitive(batch, mask, j, [j]),
    "l1": lambda batch, mask, j: functional.l1_loss(*_magnitudes(batch, mask, [j])[:2]),
    "waveform-l1": lambda batch, mask, j: functional.l1_loss(*_waveforms(batch, mask, [j])[:2]),
    "waveform-mse": lambda batch, mask, j: functional.mse_loss(*_waveforms(batch, mask, [j])[:2]),
}
#: From a batch and a mask for each source to losses, by name. The first losses are those of the
#: sources, in order.
MULTI_TARGET_LOSSES: dict[str, Callable[[SpectrogramBatch, Sequence[Tensor]], list[Tensor]]] = {
    "multi-domain": multi_domain,
    "wiener": wiener_loss,
    "wiener-sqrt": partial(wiener_loss, sqrt=True),
}
