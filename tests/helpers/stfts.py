"""STFTs of noise, and of mixtures that are difficult to filter in single precision."""

from __future__ import annotations

import torch
from torch import Tensor


def random_stft(*shape: int, seed: int = 0) -> Tensor:
    """Complex Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


def shares_of(mixture: Tensor, sources: int = 3, seed: int = 1) -> Tensor:
    """Magnitudes as a network could estimate them: a random share of each value."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(*mixture.shape, sources, dtype=torch.float64, generator=generator)
    return shares * mixture.abs()[..., None]


def difficult_mixtures() -> dict[str, tuple[Tensor, Tensor]]:
    """Magnitudes and mixtures whose covariance is singular up to the noise of the model."""
    loudness = torch.exp(random_stft(100, 9, 1, seed=3).real)
    centre, side = loudness * random_stft(100, 9, 1), random_stft(100, 9, 1, seed=4)
    cases = {}

    def add(name: str, mixture: Tensor, tied: bool = True) -> None:
        magnitudes = shares_of(mixture, sources=4)
        if tied:  # the same share of both channels
            magnitudes = magnitudes[..., :1, :] / mixture[..., :1, None].abs().clamp(min=1e-30)
            magnitudes = magnitudes * mixture[..., None].abs()
        cases[name] = magnitudes, mixture

    for level in (1e-6, 1.0, 1e4):
        add(f"dual mono at {level:g}", level * centre.expand(-1, -1, 2))
        add(f"noise at {level:g}", level * random_stft(100, 9, 2), tied=False)
    add("dual mono, channels estimated apart", centre.expand(-1, -1, 2), tied=False)
    for decibels in (-20, -40, -60, -80, -100):
        quiet = 10 ** (decibels / 20) * side
        add(f"side at {decibels} dB", torch.cat([centre + quiet, centre - quiet], dim=-1))
    add("panned and turned", torch.cat([centre, (0.2 + 0.3j) * centre], dim=-1))
    add("right channel silent", torch.cat([centre, 0 * centre], dim=-1), tied=False)
    add("left channel silent", torch.cat([0 * centre, centre], dim=-1), tied=False)
    add("left channel at -200 dB", torch.cat([1e-10 * centre, centre], dim=-1), tied=False)
    one, other = torch.cat([centre, 0.7 * centre], -1), torch.cat([centre, -0.2 * centre], -1)
    turns = (torch.arange(100) % 2 == 0)[:, None, None]
    alternating = torch.where(turns, one, other)
    cases["panned sources that take turns"] = (
        torch.stack([one.abs() * turns, other.abs() * ~turns, 1e-3 * one.abs()], dim=-1),
        alternating,
    )
    return cases


DIFFICULT = difficult_mixtures()
