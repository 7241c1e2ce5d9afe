"""What the best mask and the best filter would give: estimates made with the true sources.

They show the ceiling of a method, the mixture itself the floor, as in the SiSEC campaigns [1]_.
Everything is computed in blocks, so that memory does not grow beyond the signals themselves.

.. [1] F.-R. Stöter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
   LVA/ICA 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from openunmix.filtering.gaussian import power_spectral_density, wiener_gain
from openunmix.transforms.streaming import Analysis, Synthesis

__all__ = ["MIXTURE", "ORACLES", "ideal_ratio_mask", "multichannel_wiener_filter"]

#: The oracle that does nothing: the mixture is the estimate of whatever is scored.
MIXTURE = "mixture"

_N_FFT, _N_HOP = 4096, 1024
_BLOCK = 65536
_EPS = 1e-10


def ideal_ratio_mask(mixture: Tensor, sources: Sequence[Tensor], exponent: float = 2.0) -> Tensor:
    r"""Estimates by the ratio mask :math:`|S_j|^a / \sum_k |S_k|^a`, for each channel.

    Parameters
    ----------
    mixture : Tensor [shape=(channels, samples)], real
        What is masked.
    sources : sequence of Tensor [shape=(channels, samples)], real
        All true sources.
    exponent : float > 0
        :math:`a`: 1 for magnitudes, as the networks estimate them, 2 for powers.

    Returns
    -------
    Tensor [shape=(sources, channels, samples)], real
        The estimates, which sum to the mixture.
    """

    def masked(mixed: Tensor, true: Tensor) -> Tensor:
        power = true.abs().pow(exponent) + _EPS
        return power / power.sum(dim=0) * mixed

    return _filtered(mixture, sources, masked)


def multichannel_wiener_filter(mixture: Tensor, sources: Sequence[Tensor]) -> Tensor:
    """Estimates by the Wiener filter with the sources' own densities and covariances.

    Parameters
    ----------
    mixture : Tensor [shape=(channels, samples)], real
        What is filtered.
    sources : sequence of Tensor [shape=(channels, samples)], real
        All true sources.

    Returns
    -------
    Tensor [shape=(sources, channels, samples)], real
        The estimates, which sum to the mixture.
    """
    covariance = _covariance(sources)

    def filtered(mixed: Tensor, true: Tensor) -> Tensor:
        psd = power_spectral_density(true.permute(1, 3, 2, 0))  # (frames, bins, sources)
        return torch.einsum("tfcdj,tdf->jtcf", wiener_gain(psd, covariance), mixed)

    return _filtered(mixture, sources, filtered)


def _covariance(sources: Sequence[Tensor]) -> Tensor:
    """Return the spatial covariances (bins, channels, channels, sources), relative to power."""
    outer, power = torch.zeros(()), torch.zeros(())
    for (true,) in _spectra(sources):
        outer = outer + torch.einsum("jtcf,jtdf->fcdj", true, true.conj())
        power = power + power_spectral_density(true.permute(1, 3, 2, 0)).sum(dim=0)
    return outer / (_EPS + power)[:, None, None]


def _filtered(
    mixture: Tensor, sources: Sequence[Tensor], estimate: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Apply a function of spectra (frames, channels, bins), (sources, frames, channels, bins)."""
    synthesis = Synthesis(_N_FFT, _N_HOP, mixture.device)
    samples = mixture.shape[-1]
    whole = mixture.new_empty(len(sources), *mixture.shape, dtype=torch.float32)
    done = 0
    for mixed, true in _spectra([mixture], sources):
        part = synthesis.push(estimate(mixed[0], true))[..., : samples - done]
        whole[..., done : done + part.shape[-1]] = part
        done += part.shape[-1]
    whole[..., done:] = synthesis.finish(samples - done)
    return whole


def _spectra(*groups: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Spectra (sources, frames, channels, bins) of groups of signals (channels, samples)."""
    channels, samples = groups[0][0].shape
    device = groups[0][0].device
    analyses = [Analysis(len(group) * channels, _N_FFT, _N_HOP, device) for group in groups]
    for start in [*range(0, samples, _BLOCK), None]:
        spectra = []
        for group, analysis in zip(groups, analyses, strict=True):
            if start is None:
                frames = analysis.finish()
            else:
                parts = [signal[:, start : start + _BLOCK] for signal in group]
                frames = analysis.push(torch.cat(parts).float())
            frames = frames.reshape(len(frames), len(group), channels, _N_FFT // 2 + 1)
            spectra.append(frames.transpose(0, 1))
        if spectra[0].shape[1]:
            yield tuple(spectra)


#: The other oracles by name: functions of the mixture and of all sources.
ORACLES: dict[str, Callable[[Tensor, Sequence[Tensor]], Tensor]] = {
    "irm1": lambda mixture, sources: ideal_ratio_mask(mixture, sources, 1.0),
    "irm2": lambda mixture, sources: ideal_ratio_mask(mixture, sources, 2.0),
    "mwf": multichannel_wiener_filter,
}
