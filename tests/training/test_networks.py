"""Networks to train, new and of a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openunmix.model import Architecture
from openunmix.training.config import TrainingConfig
from openunmix.training.networks import input_statistics, new_networks, pretrained_networks
from openunmix.transforms.fourier import STFTConfig


@pytest.mark.parametrize(("layers", "expected"), [(2, 0.1), (1, 0.0)])
def test_new_networks_drop_out_what_is_asked(layers, expected):
    config = TrainingConfig(("vocals",), Architecture(8, layers, dropout=0.1), STFTConfig(512, 128))
    assert new_networks(config)["vocals"].lstm.dropout == expected


def test_networks_of_a_model_drop_out_what_is_asked():
    networks, _ = pretrained_networks(
        "umxs", TrainingConfig(("vocals",), Architecture(dropout=0.1))
    )
    assert networks["vocals"].lstm.dropout == 0.1


def test_statistics_are_those_of_numpy(generator):
    magnitudes = [
        torch.rand(2, 9, frames, generator=generator) * torch.arange(1, 10)[:, None]
        for frames in (5, 1, 30)
    ]
    together = np.concatenate([m.numpy().mean(axis=0) for m in magnitudes], axis=-1)
    statistics = input_statistics(iter(magnitudes))
    np.testing.assert_allclose(statistics.mean, together.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(statistics.scale, together.std(axis=1), rtol=1e-5)
    assert statistics.mean.dtype == statistics.scale.dtype == torch.float32


def test_leading_axes_are_averaged(generator):
    magnitude = torch.rand(3, 2, 9, 20, generator=generator)
    expected = input_statistics([magnitude.mean(dim=(0, 1))])
    actual = input_statistics([magnitude])
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_scale_of_a_constant_bin_is_floored(generator):
    magnitude = torch.rand(1, 4, 50, generator=generator)
    magnitude[:, 2] = 0.3
    scale = input_statistics([magnitude]).scale
    assert float(scale[2]) == pytest.approx(1e-4 * float(scale.max()), rel=1e-5)


def test_small_variations_of_large_values_are_not_lost(generator):
    # The difference of two sums of squares needs double precision.
    magnitude = 1000 + torch.rand(1, 4, 500, generator=generator).round()
    scale = input_statistics([magnitude]).scale
    torch.testing.assert_close(scale, magnitude[0].std(dim=-1, correction=0), rtol=1e-4, atol=0)


def test_magnitudes_are_left_as_they_were(generator):
    magnitude = torch.rand(2, 4, 50, generator=generator)
    before = magnitude.clone()
    input_statistics([magnitude])
    assert torch.equal(magnitude, before)


@pytest.mark.parametrize("magnitudes", [[], [torch.zeros(2, 4, 10)]], ids=["none", "silence"])
def test_statistics_of_nothing_are_refused(magnitudes):
    # Networks would have been divided by zero.
    with pytest.raises(ValueError, match="nothing varies in"):
        input_statistics(magnitudes)
