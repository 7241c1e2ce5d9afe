"""Losses against their formulas in double precision, with gradients."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import checks

from openunmix.filtering.gaussian import wiener
from openunmix.training import losses
from openunmix.training.losses import (
    MULTI_TARGET_LOSSES,
    SINGLE_TARGET_LOSSES,
    source_combinations,
)
from openunmix.training.spectrograms import SpectrogramBatch, limit_band
from openunmix.transforms.fourier import STFTConfig, stft

N_FFT, N_HOP, SAMPLES, RATE = 32, 16, 200, 8000
STFT = STFTConfig(N_FFT, N_HOP, RATE)


@pytest.fixture
def batch(generator):
    """Two mixtures of three sources, in double precision."""
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    return make_batch(sources)


def make_batch(sources, bandwidth=None):
    """Transform sources (batch, targets, channels, samples)."""
    spectra = stft(sources, N_FFT, N_HOP).permute(4, 0, 1, 2, 3)
    return SpectrogramBatch(spectra.sum(dim=2), spectra, STFT, SAMPLES, bandwidth)


def random_masks(batch, generator):
    """Return a mask for each source."""
    shape = batch.mixture.shape
    return [torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(3)]


def waveforms(batch, mask):
    """Waveforms (batch, channels, samples) of a masked mixture."""
    return batch.waveform(mask * batch.mixture)


def relative(error, mixture):
    """Squared errors (frames, batch, channels, bins) relative to the power of each mixture."""
    power = mixture.abs().square()
    shares = [
        error[:, b].square().sum() / (power[:, b].sum() + 1e-3 * power.sum() / 2 + 1e-8)
        for b in range(2)
    ]
    return sum(shares) / 2


def square_root(magnitudes):
    """Square root with the offset that gives it a slope at 0."""
    return (magnitudes.abs() + 1e-4).sqrt()


FORMULAS = {
    "mse": lambda s, e, x: (s.abs() - e).square().sum() / e.numel(),
    "l1": lambda s, e, x: (s.abs() - e).abs().sum() / e.numel(),
    "normalized-mse": lambda s, e, x: relative(s.abs() - e, x),
    "normalized-mse-sqrt": lambda s, e, x: (
        relative(s.abs() - e, x) + relative(square_root(s) - square_root(e), square_root(x))
    ),
    "phase-sensitive": lambda s, e, x: relative(s.abs() * (s.angle() - x.angle()).cos() - e, x),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("index", [0, 2])
def test_loss_of_magnitudes_is_its_formula(batch, generator, name, index):
    mask = random_masks(batch, generator)[index]
    source = batch.sources[:, :, index]
    expected = FORMULAS[name](source, mask * batch.mixture.abs(), batch.mixture)
    assert float(SINGLE_TARGET_LOSSES[name](batch, mask, index)) == pytest.approx(
        float(expected), rel=1e-12
    )


def test_best_mask_of_the_phase_sensitive_loss_is_that_of_the_waveform(batch, generator):
    mask = random_masks(batch, generator)[0].requires_grad_()
    SINGLE_TARGET_LOSSES["phase-sensitive"](batch, mask, 0).backward()
    found, mask.grad = mask.grad, None
    relative((batch.sources[:, :, 0] - mask * batch.mixture).abs(), batch.mixture).backward()
    assert torch.allclose(found, mask.grad)


@pytest.mark.parametrize(
    ("name", "error"), [("waveform-l1", torch.abs), ("waveform-mse", torch.square)]
)
def test_loss_of_waveforms_is_its_formula(generator, name, error):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    batch = make_batch(sources)
    mask = random_masks(batch, generator)[1]
    expected = error(sources[:, 1] - waveforms(batch, mask)).mean()
    assert float(SINGLE_TARGET_LOSSES[name](batch, mask, 1)) == pytest.approx(
        float(expected), rel=1e-10
    )


def test_weighted_ratio_is_its_formula(generator):
    s, e, x = torch.randn(3, 2, 2, 50, generator=generator, dtype=torch.float64)
    expected = 0.0
    for b in range(2):
        speech, estimate, mixture = (signal[b].flatten() for signal in (s, e, x))
        noise, rest = mixture - speech, mixture - estimate
        rho = speech @ speech / (speech @ speech + noise @ noise)
        expected -= rho * (speech @ estimate) / (speech.norm() * estimate.norm()) / 2
        expected -= (1 - rho) * (noise @ rest) / (noise.norm() * rest.norm()) / 2
    assert float(losses.weighted_sdr(s, e, x)) == pytest.approx(float(expected), rel=1e-8)


def test_perfect_estimates_have_the_least_losses(generator):
    sources = torch.randn(2, 1, 2, SAMPLES, generator=generator, dtype=torch.float64)
    batch = make_batch(sources)  # a single source is its mixture
    mask = torch.ones(batch.mixture.shape, dtype=torch.float64)
    for name, loss in SINGLE_TARGET_LOSSES.items():
        assert float(loss(batch, mask, 0)) == pytest.approx(0, abs=1e-12), name
    s, x = torch.randn(2, 2, 2, 50, generator=generator, dtype=torch.float64)
    assert float(losses.weighted_sdr(s, s, x)) == pytest.approx(-1, abs=1e-8)
    assert float(losses.weighted_sdr(s, x - s, x)) > -0.9


def test_multi_domain_loss_is_that_of_all_combinations(generator):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    batch = make_batch(sources)
    masks = random_masks(batch, generator)
    found = MULTI_TARGET_LOSSES["multi-domain"](batch, masks)
    assert len(found) == 6
    mixture = sources.sum(dim=1)
    for loss, chosen in zip(found, source_combinations(3), strict=True):
        reference = sources[:, chosen].sum(dim=1)
        mask = sum(masks[j] for j in chosen)
        magnitude = stft(reference, N_FFT, N_HOP).permute(3, 0, 1, 2).abs()
        expected = (magnitude - mask * batch.mixture.abs()).square().mean()
        expected = expected + 10 * losses.weighted_sdr(reference, waveforms(batch, mask), mixture)
        assert float(loss) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("name", ["wiener", "wiener-sqrt"])
def test_wiener_loss_is_that_of_the_estimates_and_of_the_gains(batch, generator, name):
    masks = random_masks(batch, generator)
    powers = [(mask * batch.mixture).abs().square().sum(dim=2, keepdim=True) for mask in masks]
    found = MULTI_TARGET_LOSSES[name](batch, masks)
    assert len(found) == 3
    for j, loss in enumerate(found):
        gain = powers[j] / sum(powers)
        source, magnitude = batch.sources[:, :, j], batch.mixture.abs()
        alone = FORMULAS["normalized-mse"](source, masks[j] * magnitude, batch.mixture)
        together = FORMULAS["phase-sensitive"](source, gain * magnitude, batch.mixture)
        if name == "wiener-sqrt":
            roots = map(square_root, (source, gain * magnitude, batch.mixture))
            reference, estimate, mixture = roots
            together = together + relative(reference - estimate, mixture)
        assert float(loss) == pytest.approx(float(alone + together), rel=1e-4)


def test_filter_gains_are_those_of_the_filter_for_one_channel(generator):
    mixture = torch.randn(7, 2, 1, 9, generator=generator, dtype=torch.complex128)
    masks = torch.rand(3, *mixture.shape, generator=generator, dtype=torch.float64) + 0.1
    gains = torch.stack(losses.wiener_gains(mixture.abs(), list(masks)))
    as_in_filter = (masks * mixture.abs()).permute(2, 1, 4, 3, 0)  # batch, frames, bins, channels
    expected = wiener(as_in_filter, mixture.permute(1, 0, 3, 2), iterations=1)
    assert torch.allclose((gains * mixture).permute(2, 1, 4, 3, 0), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["wiener", "wiener-sqrt"])
def test_no_wiener_loss_looks_above_the_bandwidth_of_a_source(generator, name):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    bandwidth = torch.tensor([[1000.0, math.inf, math.inf], [math.inf, math.inf, math.inf]])
    batch = make_batch(sources, bandwidth)
    masks = [mask.requires_grad_() for mask in random_masks(batch, generator)]
    torch.stack(MULTI_TARGET_LOSSES[name](batch, masks)).sum().backward()
    assert masks[0].grad[:, 0, :, :5].abs().sum() > 0
    assert masks[0].grad[:, 0, :, 5:].abs().sum() == 0
    assert all(mask.grad[:, 1].abs().sum(dim=(0, 1)).min() > 0 for mask in masks)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_combinations_are_all_but_none_and_all(count):
    found = source_combinations(count)
    assert len(found) == len(set(found)) == 2**count - 2
    assert found[:count] == [(j,) for j in range(count)]


@pytest.mark.parametrize("name", [*SINGLE_TARGET_LOSSES, *MULTI_TARGET_LOSSES])
def test_gradient_is_right(generator, name):
    batch = make_batch(torch.randn(1, 2, 1, 40, generator=generator, dtype=torch.float64))
    batch = SpectrogramBatch(batch.mixture, batch.sources, STFT, 40)
    shape = batch.mixture.shape
    masks = torch.rand(2, *shape, generator=generator, dtype=torch.float64)

    def loss(masks):
        if name in MULTI_TARGET_LOSSES:
            return torch.stack(MULTI_TARGET_LOSSES[name](batch, list(masks)))
        return SINGLE_TARGET_LOSSES[name](batch, masks[1], 1)

    checks.check_gradient(loss, masks)


@pytest.mark.parametrize("name", [*SINGLE_TARGET_LOSSES, *MULTI_TARGET_LOSSES])
def test_loss_and_gradient_of_silence_are_finite(name):
    batch = make_batch(torch.zeros(2, 2, 2, SAMPLES))
    masks = [torch.ones(batch.mixture.shape, requires_grad=True) for _ in range(2)]
    if name in MULTI_TARGET_LOSSES:
        loss = torch.stack(MULTI_TARGET_LOSSES[name](batch, masks)).sum()
    else:
        loss = SINGLE_TARGET_LOSSES[name](batch, masks[0], 0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert masks[0].grad.isfinite().all()


def test_quiet_excerpts_count_as_much_as_loud_ones(generator):
    mixture = torch.rand(6, 3, 2, 5, generator=generator) + 0.1
    magnitudes = (0.5 * mixture, 0.4 * mixture, mixture)
    assert float(losses.normalized_mse(*magnitudes)) == pytest.approx(0.01, rel=2e-3)
    gains = torch.tensor([0.1, 1.0, 1.0])[None, :, None, None]
    quiet = [gains * magnitude for magnitude in magnitudes]
    assert float(losses.normalized_mse(*quiet)) == pytest.approx(0.01, rel=0.05)


# Sources that were recorded with little bandwidth


def test_band_is_limited_per_item():
    spectra = torch.ones(3, 2, 1, 17)
    limited = limit_band(spectra, torch.tensor([1000.0, math.inf]), RATE)  # bins of 250 Hz
    assert limited[0, 0, 0].tolist() == [1.0] * 5 + [0.0] * 12
    assert torch.equal(limited[:, 1], spectra[:, 1])


@pytest.mark.parametrize("name", [*SINGLE_TARGET_LOSSES, *MULTI_TARGET_LOSSES])
def test_loss_does_not_look_above_the_bandwidth(generator, name):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    bandwidth = torch.tensor([[1000.0, math.inf, math.inf], [math.inf, math.inf, math.inf]])
    batch = make_batch(sources, bandwidth)
    masks = [mask.requires_grad_() for mask in random_masks(batch, generator)]
    loss = (
        MULTI_TARGET_LOSSES[name](batch, masks)[0]
        if name in MULTI_TARGET_LOSSES
        else SINGLE_TARGET_LOSSES[name](batch, masks[0], 0)
    )
    loss.backward()
    assert masks[0].grad[:, 0, :, :5].abs().sum() > 0
    assert masks[0].grad[:, 0, :, 5:].abs().sum() == 0
    assert masks[0].grad[:, 1, :, 5:].abs().sum() > 0
