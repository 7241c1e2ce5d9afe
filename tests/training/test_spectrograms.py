"""Equalisers: smooth, as strong as asked for, and the mixture stays the sum."""

from __future__ import annotations

import pytest
import torch

from openunmix.training.spectrograms import SpectrogramBatch, equalise
from openunmix.transforms.fourier import STFTConfig, stft

RATE = 44100


@pytest.fixture
def batch(generator):
    """Return two mixtures of two sources and something else."""
    sources = torch.randn(2, 2, 2, 4096, generator=generator)
    mixture = sources.sum(dim=1) + torch.randn(2, 2, 4096, generator=generator)
    spectra = [stft(mixture, 512, 128).permute(3, 0, 1, 2), stft(sources, 512, 128)]
    return SpectrogramBatch(
        spectra[0], spectra[1].permute(4, 0, 1, 2, 3), STFTConfig(512, 128, RATE), 4096
    )


def test_the_mixture_is_the_sum_of_what_was_changed(batch):
    new = equalise(batch, 6.0, torch.Generator().manual_seed(1))
    gains = (new.sources / batch.sources)[0, :, :, 0]
    rest_before = batch.mixture - batch.sources.sum(dim=2)
    rest_gain = (new.mixture - new.sources.sum(dim=2)) / rest_before
    # Real, and the same in all frames and both channels; another for every item and source.
    assert gains.imag.abs().max() < 1e-4
    expected = batch.sources * gains[None, :, :, None]
    assert torch.allclose(new.sources, expected, rtol=1e-3, atol=1e-3)
    assert torch.allclose(rest_gain.real, rest_gain.real[:1, :, :1].expand_as(rest_gain), rtol=0.1)
    apart = [gains[i, j].real for i in range(2) for j in range(2)]
    assert all((a - b).abs().max() > 0.1 for i, a in enumerate(apart) for b in apart[:i])


def test_nothing_is_changed_by_a_spread_of_zero(batch):
    new = equalise(batch, 0.0, torch.Generator())
    assert torch.allclose(new.sources, batch.sources)
    assert torch.allclose(new.mixture, batch.mixture, atol=1e-4)


def test_draws_follow_from_the_generator(batch):
    one, same = (equalise(batch, 6.0, torch.Generator().manual_seed(1)) for _ in range(2))
    other = equalise(batch, 6.0, torch.Generator().manual_seed(2))
    assert torch.equal(one.mixture, same.mixture)
    assert not torch.equal(one.mixture, other.mixture)
