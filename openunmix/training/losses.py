r"""Losses: how far estimates are from the sources. One pure function each, and a table of names.

Magnitudes and STFTs have the axes (frames, batch, channels, bins), as the networks work, and
waveforms (batch, channels, samples). Every function returns the mean over a batch.

An estimate is the mixture's STFT :math:`X` times a real mask :math:`M_j`, so its phase is that of
the mixture; :math:`S_j` is the STFT of source :math:`j`, and :math:`s_j`, :math:`x` are waveforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from openunmix.data.augment.effects import equaliser_gains
from openunmix.transforms.fourier import istft, magnitude

__all__ = [
    "MULTI_TARGET_LOSSES",
    "SINGLE_TARGET_LOSSES",
    "SpectrogramBatch",
    "equalise",
    "in_phase",
    "limit_band",
    "magnitude_l1",
    "magnitude_mse",
    "multi_domain",
    "normalized_mse",
    "source_combinations",
    "waveform_l1",
    "waveform_mse",
    "weighted_sdr",
    "wiener_gains",
    "wiener_loss",
]


def equalise(
    batch: SpectrogramBatch, spread: float, generator: torch.Generator
) -> SpectrogramBatch:
    """Change the spectrum of every source, and of what else is in the mixture, at random.

    Parameters
    ----------
    batch : SpectrogramBatch
        Mixtures and sources.
    spread : float
        Standard deviation of the gains in dB.
    generator : torch.Generator
        What draws them, on the CPU.

    Returns
    -------
    SpectrogramBatch
        New sources, and their new sum.
    """
    rest = batch.mixture - batch.sources.sum(dim=2)
    parts = torch.cat([batch.sources, rest[:, :, None]], dim=2)
    count = parts.shape[1] * parts.shape[2]
    gains = equaliser_gains(count, parts.shape[-1], batch.sample_rate, spread, generator)
    parts = parts * gains.to(parts.device).reshape(*parts.shape[1:3], 1, -1)
    return replace(batch, mixture=parts.sum(dim=2), sources=parts[:, :, :-1])


# Weight of the waveforms' part in the multi-domain loss, as published.
_WAVEFORM_WEIGHT = 10.0


def magnitude_mse(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Mean squared error of magnitudes, :math:`\mathrm{mean}(|S_j| - M_j |X|)^2`.

    The loss of openunmix 1.3.0 [1]_. Loud excerpts and loud bins count most.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(frames, batch, channels, bins)], real
        Magnitudes.

    Returns
    -------
    Tensor [shape=()], real
        The mean over all axes.

    References
    ----------
    .. [1] F.-R. Stöter, S. Uhlich, A. Liutkus, Y. Mitsufuji, "Open-Unmix - A Reference
       Implementation for Music Source Separation", Journal of Open Source Software 4(41), 2019.
    """
    return functional.mse_loss(estimate, reference)


def normalized_mse(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    r"""Squared error of magnitudes, relative to the power of each mixture.

    .. math:: \mathrm{mean}_b \frac{\sum (|S_j| - M_j |X|)^2}{\sum |X|^2 + 10^{-3} \bar P}

    with sums over an excerpt and the mean power :math:`\bar P` of the batch, so that quiet
    excerpts count as much as loud ones, and silent ones hardly.

    Parameters
    ----------
    reference, estimate, mixture : Tensor [shape=(frames, batch, channels, bins)], real
        Magnitudes.

    Returns
    -------
    Tensor [shape=()], real
        The mean over the batch.
    """
    axes = (0, 2, 3)
    power = mixture.square().sum(dim=axes)
    error = (reference - estimate).square().sum(dim=axes)
    return (error / (power + 1e-3 * power.mean() + 1e-8)).mean()


def in_phase(source: Tensor, mixture: Tensor, magnitude: Tensor) -> Tensor:
    r"""Part of a source that has the phase of the mixture, :math:`\mathrm{Re}(S_j X^*) / |X|`.

    What a mask should give: as an estimate has the mixture's phase,
    :math:`|S_j - M_j X|^2` is :math:`(\mathrm{Re}(S_j X^*) / |X| - M_j |X|)^2` and something that
    the mask does not change [1]_. It is negative where the source is out of phase.

    Parameters
    ----------
    source, mixture : Tensor, complex
        STFTs of one shape.
    magnitude : Tensor, real
        That of the mixture.

    Returns
    -------
    Tensor, real
        In place of the source's magnitude; 0 where the mixture is silent.

    References
    ----------
    .. [1] H. Erdogan, J. R. Hershey, S. Watanabe, J. Le Roux, "Phase-sensitive and
       recognition-boosted speech separation using deep recurrent neural networks", ICASSP, 2015.
    """
    product = source.real * mixture.real + source.imag * mixture.imag
    return product / magnitude.clamp(min=1e-8)


def magnitude_l1(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Mean absolute error of magnitudes, :math:`\mathrm{mean}\big||S_j| - M_j |X|\big|`.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(frames, batch, channels, bins)], real
        Magnitudes.

    Returns
    -------
    Tensor [shape=()], real
        The mean over all axes.
    """
    return (reference - estimate).abs().mean()


def waveform_l1(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Mean absolute error of waveforms, :math:`\mathrm{mean}|s_j - \hat s_j|`.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(batch, channels, samples)], real
        Waveforms.

    Returns
    -------
    Tensor [shape=()], real
        The mean over all axes.
    """
    return (reference - estimate).abs().mean()


def waveform_mse(reference: Tensor, estimate: Tensor) -> Tensor:
    r"""Mean squared error of waveforms, :math:`\mathrm{mean}(s_j - \hat s_j)^2`.

    Parameters
    ----------
    reference, estimate : Tensor [shape=(batch, channels, samples)], real
        Waveforms.

    Returns
    -------
    Tensor [shape=()], real
        The mean over all axes.
    """
    return (reference - estimate).square().mean()


def weighted_sdr(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    r"""Weighted source-to-distortion ratio [1]_, from -1 (perfect) to 1.

    .. math:: -\rho \frac{\langle s, \hat s \rangle}{\|s\| \|\hat s\|}
        - (1 - \rho) \frac{\langle x - s, x - \hat s \rangle}{\|x - s\| \|x - \hat s\|},
        \qquad \rho = \frac{\|s\|^2}{\|s\|^2 + \|x - s\|^2}.

    Parameters
    ----------
    reference, estimate, mixture : Tensor [shape=(batch, channels, samples)], real
        Waveforms.

    Returns
    -------
    Tensor [shape=()], real
        The mean over the batch; each excerpt's channels are taken as one signal.

    References
    ----------
    .. [1] H.-S. Choi, J.-H. Kim, J. Huh, A. Kim, J.-W. Ha, K. Lee, "Phase-aware speech
       enhancement with deep complex U-Net", ICLR, 2019.
    """
    s, estimated, x = reference.flatten(1), estimate.flatten(1), mixture.flatten(1)
    power, rest = s.square().sum(dim=-1), (x - s).square().sum(dim=-1)
    share = power / (power + rest + 1e-8)
    return -(share * _cosine(s, estimated) + (1 - share) * _cosine(x - s, x - estimated)).mean()


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of the angle between signals (batch, samples), 0 for silence."""
    norms = one.square().sum(dim=-1) * other.square().sum(dim=-1)
    return (one * other).sum(dim=-1) * (norms + 1e-8).rsqrt()


def source_combinations(count: int) -> list[tuple[int, ...]]:
    """List the combinations of some, but not all, of the sources.

    Parameters
    ----------
    count : int
        Number of sources.

    Returns
    -------
    list of tuple of int
        Indices, single sources first; 14 combinations of four sources.

    Examples
    --------
    >>> source_combinations(3)
    [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    """
    sizes = range(1, max(count, 2))
    return [chosen for size in sizes for chosen in combinations(range(count), size)]


def limit_band(spectra: Tensor, bandwidth: Tensor, sample_rate: float) -> Tensor:
    """Set bins above a bandwidth to zero, so that no loss sees them.

    A source that was recorded with little bandwidth, as singing at 16 kHz is, would teach that
    there is nothing above. Applied to reference and estimate alike, this is a weight of 0.

    Parameters
    ----------
    spectra : Tensor [shape=(frames, batch, channels, bins)], real or complex
        STFTs or magnitudes.
    bandwidth : Tensor [shape=(batch,)], real
        Hz for each item; infinite where all counts.
    sample_rate : float
        Hz.

    Returns
    -------
    Tensor [shape=(frames, batch, channels, bins)], real or complex
        The spectra up to their bandwidth.
    """
    frequencies = torch.linspace(0, sample_rate / 2, spectra.shape[-1], device=spectra.device)
    return spectra * (frequencies <= bandwidth[:, None])[:, None]


@dataclass(frozen=True)
class SpectrogramBatch:
    """A batch of mixtures with their sources: what a loss compares estimates with.

    Attributes
    ----------
    mixture : Tensor [shape=(frames, batch, channels, bins)], complex
        STFT of the mixtures.
    sources : Tensor [shape=(frames, batch, targets, channels, bins)], complex
        STFTs of the sources.
    n_fft, n_hop, samples : int
        Window and hop length of the STFT, and length of the waveforms.
    sample_rate : float
        Hz.
    bandwidth : Tensor [shape=(batch, targets)], optional
        Frequency in Hz above which a source says nothing.
    """

    mixture: Tensor
    sources: Tensor
    n_fft: int
    n_hop: int
    samples: int
    sample_rate: float
    bandwidth: Tensor | None = None

    @cached_property
    def magnitude(self) -> Tensor:
        """Magnitude of the mixtures, computed once."""
        return magnitude(self.mixture)

    def sum_of(self, chosen: Sequence[int]) -> Tensor:
        """Add up sources.

        Parameters
        ----------
        chosen : sequence of int
            Their indices.

        Returns
        -------
        Tensor [shape=(frames, batch, channels, bins)], complex
            STFT of the sum; of a single source, no copy.
        """
        first, *others = chosen
        return sum((self.sources[:, :, other] for other in others), self.sources[:, :, first])

    def limited(self, spectra: Tensor, chosen: Sequence[int]) -> Tensor:
        """Keep the band in which all of the chosen sources say something.

        Parameters
        ----------
        spectra : Tensor [shape=(frames, batch, channels, bins)], real or complex
            STFTs or magnitudes.
        chosen : sequence of int
            Indices of sources.

        Returns
        -------
        Tensor [shape=(frames, batch, channels, bins)], real or complex
            The spectra, with zeros above.
        """
        if self.bandwidth is None:
            return spectra
        return limit_band(spectra, self.bandwidth[:, chosen].amin(dim=1), self.sample_rate)

    def waveform(self, spectra: Tensor) -> Tensor:
        """Inverse STFT.

        Parameters
        ----------
        spectra : Tensor [shape=(frames, batch, channels, bins)], complex
            STFTs.

        Returns
        -------
        Tensor [shape=(batch, channels, samples)], real
            Waveforms.
        """
        return istft(spectra.permute(1, 2, 3, 0), self.n_fft, self.n_hop, length=self.samples)


def _masked(
    batch: SpectrogramBatch, reference: Tensor, mask: Tensor, chosen: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Limit a reference; return it with its estimate and the mixture's magnitude."""
    mixture = batch.limited(batch.magnitude, chosen)
    return batch.limited(reference, chosen), mask * mixture, mixture


def _magnitudes(
    batch: SpectrogramBatch, mask: Tensor, chosen: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Magnitudes of the sum of chosen sources, its estimate and the mixture."""
    return _masked(batch, magnitude(batch.sum_of(chosen)), mask, chosen)


def _projections(
    batch: SpectrogramBatch, mask: Tensor, chosen: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """As magnitudes, but of what is in phase with the mixture."""
    reference = in_phase(batch.sum_of(chosen), batch.mixture, batch.magnitude)
    return _masked(batch, reference, mask, chosen)


def _waveforms(
    batch: SpectrogramBatch, mask: Tensor, chosen: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Waveforms of the sum of chosen sources, its estimate and the mixture."""
    mixture = batch.limited(batch.mixture, chosen)
    reference = batch.limited(batch.sum_of(chosen), chosen)
    return batch.waveform(reference), batch.waveform(mask * mixture), batch.waveform(mixture)


def multi_domain(batch: SpectrogramBatch, masks: Sequence[Tensor]) -> list[Tensor]:
    r"""Multi-domain loss of all combinations of sources, as for CrossNet-Open-Unmix [1]_.

    The mean squared error of magnitudes plus ten times the weighted SDR, for every combination of
    some sources, whose estimate is the sum of theirs.

    Parameters
    ----------
    batch : SpectrogramBatch
        Mixtures and sources.
    masks : sequence of Tensor [shape=(frames, batch, channels, bins)], real
        A mask for each source.

    Returns
    -------
    list of Tensor [shape=()], real
        A loss for each of :func:`source_combinations`; the first are those of single sources.

    References
    ----------
    .. [1] R. Sawata, S. Uhlich, S. Takahashi, Y. Mitsufuji, "All for one and one for all:
       Improving music separation by bridging networks", ICASSP, 2021.
    """
    losses = []
    for chosen in source_combinations(len(masks)):
        mask = torch.stack([masks[index] for index in chosen]).sum(dim=0)
        reference, estimate, _ = _magnitudes(batch, mask, chosen)
        ratio = weighted_sdr(*_waveforms(batch, mask, chosen))
        losses.append(magnitude_mse(reference, estimate) + _WAVEFORM_WEIGHT * ratio)
    return losses


def wiener_gains(magnitude: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
    r"""Gains of a single-channel Wiener filter, from what all networks estimate.

    .. math:: G_j = \frac{\sum_c M_{jc}^2 |X_c|^2}
        {\sum_k \sum_c M_{kc}^2 |X_c|^2 + 10^{-6} \sum_c |X_c|^2}

    with sums over channels :math:`c`. This is the filter of
    :mod:`openunmix.filtering.gaussian` without the places of the sources between the channels.

    Parameters
    ----------
    magnitude : Tensor [shape=(frames, batch, channels, bins)], real
        Of the mixtures.
    masks : sequence of Tensor [shape=(frames, batch, channels, bins)], real
        A mask for each source.

    Returns
    -------
    list of Tensor [shape=(frames, batch, 1, bins)], real
        A gain for each source; together they are hardly less than 1.
    """
    powers = [(mask * magnitude).square().sum(dim=2, keepdim=True) for mask in masks]
    mixture = magnitude.square().sum(dim=2, keepdim=True)
    total = torch.stack(powers).sum(dim=0) + 1e-6 * mixture + 1e-12
    return [power / total for power in powers]


def wiener_loss(batch: SpectrogramBatch, masks: Sequence[Tensor]) -> list[Tensor]:
    """Loss of the estimates, and phase-sensitive loss of what a filter makes of them together.

    The networks learn what they are used for: the filter of the separator gives to each source what
    the others leave. As it only compares estimates, their scale comes from the first part.

    Parameters
    ----------
    batch : SpectrogramBatch
        Mixtures and sources, which are all that is in the mixtures.
    masks : sequence of Tensor [shape=(frames, batch, channels, bins)], real
        A mask for each source.

    Returns
    -------
    list of Tensor [shape=()], real
        A loss for each source. The second part ends at the least bandwidth: where one source says
        nothing, nobody knows what the filter should leave to the others.
    """
    losses = []
    for j, gain in enumerate(wiener_gains(batch.magnitude, masks)):
        alone = normalized_mse(*_magnitudes(batch, masks[j], [j]))
        reference = in_phase(batch.sum_of([j]), batch.mixture, batch.magnitude)
        together = normalized_mse(*_masked(batch, reference, gain, range(len(masks))))
        losses.append(alone + together)
    return losses


#: From a batch, a mask and the index of its source to a loss, by name.
SINGLE_TARGET_LOSSES: dict[str, Callable[[SpectrogramBatch, Tensor, int], Tensor]] = {
    "mse": lambda batch, mask, j: magnitude_mse(*_magnitudes(batch, mask, [j])[:2]),
    "normalized-mse": lambda batch, mask, j: normalized_mse(*_magnitudes(batch, mask, [j])),
    "phase-sensitive": lambda batch, mask, j: normalized_mse(*_projections(batch, mask, [j])),
    "l1": lambda batch, mask, j: magnitude_l1(*_magnitudes(batch, mask, [j])[:2]),
    "waveform-l1": lambda batch, mask, j: waveform_l1(*_waveforms(batch, mask, [j])[:2]),
    "waveform-mse": lambda batch, mask, j: waveform_mse(*_waveforms(batch, mask, [j])[:2]),
}
#: Losses that look at all sources at once, by name.
MULTI_TARGET_LOSSES: dict[str, Callable[[SpectrogramBatch, Sequence[Tensor]], list[Tensor]]] = {
    "multi-domain": multi_domain,
    "wiener": wiener_loss,
}
