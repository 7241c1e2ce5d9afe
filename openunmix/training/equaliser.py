"""Random equalisers: every source of a mixture sounds brighter or duller each time it is drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from openunmix.training.losses import Scene

__all__ = ["equalised", "equaliser_gains"]

# Half periods of the cosines that a curve is made of, from LOWEST Hz up to half the sample rate.
_WAVES = 5
_LOWEST = 60.0


def equalised(scene: Scene, spread: float, generator: torch.Generator) -> Scene:
    """Change the spectrum of every source, and of what else is in the mixture, at random.

    Parameters
    ----------
    scene : Scene
        Mixtures and sources.
    spread : float
        Standard deviation of the gains in dB.
    generator : torch.Generator
        What draws them, on the CPU.

    Returns
    -------
    Scene
        New sources, and their new sum.
    """
    rest = scene.mixture - scene.sources.sum(dim=2)
    parts = torch.cat([scene.sources, rest[:, :, None]], dim=2)
    count = parts.shape[1] * parts.shape[2]
    gains = equaliser_gains(count, parts.shape[-1], scene.sample_rate, spread, generator)
    parts = parts * gains.to(parts.device).reshape(*parts.shape[1:3], 1, -1)
    return replace(scene, mixture=parts.sum(dim=2), sources=parts[:, :, :-1])


def equaliser_gains(
    count: int, bins: int, sample_rate: float, spread: float, generator: torch.Generator
) -> Tensor:
    r"""Draw smooth curves over the logarithm of frequency.

    .. math:: 20 \log_{10} g(f) = \sigma \sqrt{2/K} \sum_{k=1}^K z_k \cos(\pi k\, p(f))

    with standard normal :math:`z_k`, and the place :math:`p` of a frequency from 0, at 60 Hz and
    below, to 1, at half the sample rate. The means over all frequencies are near 0 dB.

    Parameters
    ----------
    count : int
        How many curves.
    bins : int
        Frequencies of the STFT, equally spaced from 0 to half the sample rate.
    sample_rate : float
        Hz.
    spread : float
        Standard deviation :math:`\sigma` in dB.
    generator : torch.Generator
        What draws them.

    Returns
    -------
    Tensor [shape=(count, bins)], real
        Factors of magnitudes.

    Examples
    --------
    >>> gains = equaliser_gains(2, 5, 44100, spread=0.0, generator=torch.Generator())
    >>> gains.shape, bool((gains == 1).all())
    (torch.Size([2, 5]), True)
    """
    frequencies = torch.linspace(0, sample_rate / 2, bins).clamp(min=_LOWEST)
    place = (frequencies / _LOWEST).log() / math.log(sample_rate / 2 / _LOWEST)
    waves = torch.cos(math.pi * torch.arange(1, _WAVES + 1)[:, None] * place)
    drawn = torch.randn(count, _WAVES, generator=generator)
    decibels = spread * math.sqrt(2 / _WAVES) * drawn @ waves
    return 10 ** (decibels / 20)
