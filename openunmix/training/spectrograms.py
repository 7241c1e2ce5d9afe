"""Batches of STFTs, from which losses are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from openunmix.data.augment.effects import equaliser_gains
from openunmix.transforms.fourier import STFTConfig, istft, magnitude


@dataclass(frozen=True)
class SpectrogramBatch:
    """A batch of mixtures with their sources: what a loss compares estimates with."""

    mixture: Tensor  #: STFT (frames, batch, channels, bins)
    sources: Tensor  #: STFTs (frames, batch, targets, channels, bins)
    stft: STFTConfig
    samples: int  #: Length of the waveforms.
    bandwidth: Tensor | None = None  #: Hz (batch, targets), infinite for no limit

    @cached_property
    def magnitude(self) -> Tensor:
        """Magnitude of the mixtures, computed once."""
        return magnitude(self.mixture)

    def sum_of(self, chosen: Sequence[int]) -> Tensor:
        """STFT of the sum of some sources: (frames, batch, channels, bins)."""
        first, *others = chosen
        return sum((self.sources[:, :, other] for other in others), self.sources[:, :, first])

    def limited(self, spectra: Tensor, chosen: Sequence[int]) -> Tensor:
        """Limit spectra (frames, batch, channels, bins) to the least bandwidth of some sources."""
        if self.bandwidth is None:
            return spectra
        return limit_band(spectra, self.bandwidth[:, chosen].amin(dim=1), self.stft.sample_rate)

    def waveform(self, spectra: Tensor) -> Tensor:
        """Inverse STFT: (frames, batch, channels, bins) to (batch, channels, samples)."""
        channels_first = spectra.permute(1, 2, 3, 0)
        return istft(channels_first, self.stft.n_fft, self.stft.n_hop, length=self.samples)


def limit_band(spectra: Tensor, bandwidth: Tensor, sample_rate: float) -> Tensor:
    """Set bins of spectra (frames, batch, channels, bins) above a bandwidth (batch,) to zero.

    A source that was recorded with little bandwidth, as singing at 16 kHz is, would teach that
    there is nothing above. Applied to reference and estimate alike, this is a weight of 0.
    """
    frequencies = torch.linspace(0, sample_rate / 2, spectra.shape[-1], device=spectra.device)
    return spectra * (frequencies <= bandwidth[:, None])[:, None]


def equalise(
    batch: SpectrogramBatch, spread: float, generator: torch.Generator
) -> SpectrogramBatch:
    """Apply random equaliser curves, of ``spread`` dB, to sources and residual; new mixtures.

    The generator is one on the CPU.
    """
    residual = batch.mixture - batch.sources.sum(dim=2)
    parts = torch.cat([batch.sources, residual[:, :, None]], dim=2)
    _, items, sources, _, bins = parts.shape
    gains = equaliser_gains(items * sources, bins, batch.stft.sample_rate, spread, generator)
    parts = parts * gains.to(parts.device).reshape(items, sources, 1, bins)
    return replace(batch, mixture=parts.sum(dim=2), sources=parts[:, :, :-1])
