"""Oracles: estimates by ideal masks and filters, which are computed from the true sources.

They are the upper bound of a method, the mixture itself is the lower bound, as in the SiSEC
campaigns [1]_. Everything is computed in blocks, in constant memory beside the signals themselves.

.. [1] F.-R. Stöter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
   LVA/ICA 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from openunmix.filtering.gaussian import power_spectral_density, wiener_gain
from openunmix.transforms.streaming import Analysis, Synthesis

#: The oracle that estimates every target by the mixture.
MIXTURE = "mixture"

_N_FFT, _N_HOP = 4096, 1024
_BLOCK = 65536  # samples
_EPS = 1e-10  # keeps masks and covariances finite where all sources are silent


def ideal_ratio_mask(mixture: Tensor, sources: Sequence[Tensor], exponent: float = 2.0) -> Tensor:
    r"""Estimates (sources, channels, samples) by the ideal ratio mask, per channel.

    The mask is :math:`|S_j|^a / \sum_k |S_k|^a` with the ``exponent`` :math:`a`: 1 for magnitudes,
    as the networks estimate them, 2 for powers. Signals are (channels, samples).
    """

    def apply_mask(mixture_stft: Tensor, source_stfts: Tensor) -> Tensor:
        power = source_stfts.abs().pow(exponent) + _EPS
        return power / power.sum(dim=0) * mixture_stft

    return _apply(mixture, sources, apply_mask)


def multichannel_wiener_filter(mixture: Tensor, sources: Sequence[Tensor]) -> Tensor:
    """Estimates (sources, channels, samples) by the true PSDs and spatial covariances."""
    covariance = _covariance(sources)

    def apply_gain(mixture_stft: Tensor, source_stfts: Tensor) -> Tensor:
        psd = power_spectral_density(source_stfts.permute(1, 3, 2, 0))  # (frames, bins, sources)
        return torch.einsum("tfcdj,tdf->jtcf", wiener_gain(psd, covariance), mixture_stft)

    return _apply(mixture, sources, apply_gain)


def _covariance(sources: Sequence[Tensor]) -> Tensor:
    """Spatial covariances (bins, channels, channels, sources) of the whole signals."""
    # R_j(f) = sum_t s_j s_j^H / sum_t v_j, with v_j the power as the mean over channels.
    outer, power = torch.zeros(()), torch.zeros(())
    for (stfts,) in _stfts(sources):
        outer = outer + torch.einsum("jtcf,jtdf->fcdj", stfts, stfts.conj())
        power = power + power_spectral_density(stfts.permute(1, 3, 2, 0)).sum(dim=0)
    return outer / (_EPS + power)[:, None, None]


def _apply(
    mixture: Tensor, sources: Sequence[Tensor], estimate: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Estimates from a function of the STFTs of mixture and sources, applied to blocks.

    The STFTs are (frames, channels, bins) and (sources, frames, channels, bins).
    """
    synthesis = Synthesis(_N_FFT, _N_HOP, mixture.device)
    samples = mixture.shape[-1]
    estimates = mixture.new_empty(len(sources), *mixture.shape, dtype=torch.float32)
    done = 0
    for mixture_stft, source_stfts in _stfts([mixture], sources):
        part = synthesis.push(estimate(mixture_stft[0], source_stfts))[..., : samples - done]
        estimates[..., done : done + part.shape[-1]] = part
        done += part.shape[-1]
    estimates[..., done:] = synthesis.finish(samples - done)
    return estimates


def _stfts(*groups: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """STFTs (signals, frames, channels, bins) of signals (channels, samples), block by block."""
    channels, samples = groups[0][0].shape
    device = groups[0][0].device
    analyses = [Analysis(len(group) * channels, _N_FFT, _N_HOP, device) for group in groups]
    for start in [*range(0, samples, _BLOCK), None]:
        stfts = []
        for group, analysis in zip(groups, analyses, strict=True):
            if start is None:
                frames = analysis.finish()
            else:
                parts = [signal[:, start : start + _BLOCK] for signal in group]
                frames = analysis.push(torch.cat(parts).float())
            frames = frames.reshape(len(frames), len(group), channels, _N_FFT // 2 + 1)
            stfts.append(frames.transpose(0, 1))
        if stfts[0].shape[1]:
            yield tuple(stfts)


#: The other oracles by name, as functions of the mixture and all sources.
ORACLES: dict[str, Callable[[Tensor, Sequence[Tensor]], Tensor]] = {
    "irm1": lambda mixture, sources: ideal_ratio_mask(mixture, sources, 1.0),
    "irm2": lambda mixture, sources: ideal_ratio_mask(mixture, sources, 2.0),
    "mwf": multichannel_wiener_filter,
}
