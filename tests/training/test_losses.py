"""Losses against their formulas in double precision, with gradients."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import checks

from openunmix.filtering.gaussian import wiener
from openunmix.training import losses
from openunmix.training.losses import JOINT, LOSSES, Scene, limit_band, source_combinations
from openunmix.transforms.fourier import stft

N_FFT, N_HOP, SAMPLES, RATE = 32, 16, 200, 8000


@pytest.fixture
def scene(generator):
    """Two mixtures of three sources, in double precision."""
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    return make_scene(sources)


def make_scene(sources, bandwidth=None):
    """Transform sources (batch, targets, channels, samples)."""
    spectra = stft(sources, N_FFT, N_HOP).permute(4, 0, 1, 2, 3)
    return Scene(spectra.sum(dim=2), spectra, N_FFT, N_HOP, SAMPLES, RATE, bandwidth)


def random_masks(scene, generator):
    """Return a mask for each source."""
    shape = scene.mixture.shape
    return [torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(3)]


def waveforms(scene, mask):
    """Waveforms (batch, channels, samples) of a masked mixture."""
    return scene.waveform(mask * scene.mixture)


def relative(error, mixture):
    """Squared errors (frames, batch, channels, bins) relative to the power of each mixture."""
    power = mixture.abs().square()
    shares = [
        error[:, b].square().sum() / (power[:, b].sum() + 1e-3 * power.sum() / 2 + 1e-8)
        for b in range(2)
    ]
    return sum(shares) / 2


FORMULAS = {
    "mse": lambda s, e, x: (s.abs() - e).square().sum() / e.numel(),
    "l1": lambda s, e, x: (s.abs() - e).abs().sum() / e.numel(),
    "relative-mse": lambda s, e, x: relative(s.abs() - e, x),
    "phase-sensitive": lambda s, e, x: relative(s.abs() * (s.angle() - x.angle()).cos() - e, x),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("index", [0, 2])
def test_loss_of_magnitudes_is_its_formula(scene, generator, name, index):
    mask = random_masks(scene, generator)[index]
    source = scene.sources[:, :, index]
    expected = FORMULAS[name](source, mask * scene.mixture.abs(), scene.mixture)
    assert float(LOSSES[name](scene, mask, index)) == pytest.approx(float(expected), rel=1e-12)


def test_best_mask_of_the_phase_sensitive_loss_is_that_of_the_waveform(scene, generator):
    mask = random_masks(scene, generator)[0].requires_grad_()
    LOSSES["phase-sensitive"](scene, mask, 0).backward()
    found, mask.grad = mask.grad, None
    relative((scene.sources[:, :, 0] - mask * scene.mixture).abs(), scene.mixture).backward()
    assert torch.allclose(found, mask.grad)


@pytest.mark.parametrize(
    ("name", "error"), [("waveform-l1", torch.abs), ("waveform-mse", torch.square)]
)
def test_loss_of_waveforms_is_its_formula(generator, name, error):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    scene = make_scene(sources)
    mask = random_masks(scene, generator)[1]
    expected = error(sources[:, 1] - waveforms(scene, mask)).mean()
    assert float(LOSSES[name](scene, mask, 1)) == pytest.approx(float(expected), rel=1e-10)


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
    scene = make_scene(sources)  # a single source is its mixture
    mask = torch.ones(scene.mixture.shape, dtype=torch.float64)
    for name, loss in LOSSES.items():
        assert float(loss(scene, mask, 0)) == pytest.approx(0, abs=1e-12), name
    s, x = torch.randn(2, 2, 2, 50, generator=generator, dtype=torch.float64)
    assert float(losses.weighted_sdr(s, s, x)) == pytest.approx(-1, abs=1e-8)
    assert float(losses.weighted_sdr(s, x - s, x)) > -0.9


def test_multi_domain_loss_is_that_of_all_combinations(generator):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    scene = make_scene(sources)
    masks = random_masks(scene, generator)
    found = JOINT["multi-domain"](scene, masks)
    assert len(found) == 6
    mixture = sources.sum(dim=1)
    for loss, chosen in zip(found, source_combinations(3), strict=True):
        reference = sources[:, chosen].sum(dim=1)
        mask = sum(masks[j] for j in chosen)
        magnitude = stft(reference, N_FFT, N_HOP).permute(3, 0, 1, 2).abs()
        expected = (magnitude - mask * scene.mixture.abs()).square().mean()
        expected = expected + 10 * losses.weighted_sdr(reference, waveforms(scene, mask), mixture)
        assert float(loss) == pytest.approx(float(expected), rel=1e-9)


def test_filtered_loss_is_that_of_the_estimates_and_of_the_gains(scene, generator):
    masks = random_masks(scene, generator)
    powers = [(mask * scene.mixture).abs().square().sum(dim=2, keepdim=True) for mask in masks]
    found = JOINT["filtered"](scene, masks)
    assert len(found) == 3
    for j, loss in enumerate(found):
        gain = powers[j] / sum(powers)
        source, magnitude = scene.sources[:, :, j], scene.mixture.abs()
        alone = FORMULAS["relative-mse"](source, masks[j] * magnitude, scene.mixture)
        together = FORMULAS["phase-sensitive"](source, gain * magnitude, scene.mixture)
        assert float(loss) == pytest.approx(float(alone + together), rel=1e-4)


def test_filter_gains_are_those_of_the_filter_for_one_channel(generator):
    mixture = torch.randn(7, 2, 1, 9, generator=generator, dtype=torch.complex128)
    masks = torch.rand(3, *mixture.shape, generator=generator, dtype=torch.float64) + 0.1
    gains = torch.stack(losses.filter_gains(mixture.abs(), list(masks)))
    as_in_filter = (masks * mixture.abs()).permute(2, 1, 4, 3, 0)  # batch, frames, bins, channels
    expected = wiener(as_in_filter, mixture.permute(1, 0, 3, 2), iterations=1)
    assert torch.allclose((gains * mixture).permute(2, 1, 4, 3, 0), expected, atol=1e-3)


def test_no_filtered_loss_looks_above_the_bandwidth_of_a_source(generator):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    bandwidth = torch.tensor([[1000.0, math.inf, math.inf], [math.inf, math.inf, math.inf]])
    scene = make_scene(sources, bandwidth)
    masks = [mask.requires_grad_() for mask in random_masks(scene, generator)]
    torch.stack(JOINT["filtered"](scene, masks)).sum().backward()
    assert masks[0].grad[:, 0, :, :5].abs().sum() > 0
    assert masks[0].grad[:, 0, :, 5:].abs().sum() == 0
    assert all(mask.grad[:, 1].abs().sum(dim=(0, 1)).min() > 0 for mask in masks)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_combinations_are_all_but_none_and_all(count):
    found = source_combinations(count)
    assert len(found) == len(set(found)) == 2**count - 2
    assert found[:count] == [(j,) for j in range(count)]


@pytest.mark.parametrize("name", [*LOSSES, *JOINT])
def test_gradient_is_right(generator, name):
    scene = make_scene(torch.randn(1, 2, 1, 40, generator=generator, dtype=torch.float64))
    scene = Scene(scene.mixture, scene.sources, N_FFT, N_HOP, 40, RATE)
    shape = scene.mixture.shape
    masks = torch.rand(2, *shape, generator=generator, dtype=torch.float64)

    def loss(masks):
        if name in JOINT:
            return torch.stack(JOINT[name](scene, list(masks)))
        return LOSSES[name](scene, masks[1], 1)

    checks.check_gradient(loss, masks)


@pytest.mark.parametrize("name", [*LOSSES, *JOINT])
def test_loss_and_gradient_of_silence_are_finite(name):
    scene = make_scene(torch.zeros(2, 2, 2, SAMPLES))
    masks = [torch.ones(scene.mixture.shape, requires_grad=True) for _ in range(2)]
    if name in JOINT:
        loss = torch.stack(JOINT[name](scene, masks)).sum()
    else:
        loss = LOSSES[name](scene, masks[0], 0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert masks[0].grad.isfinite().all()


def test_quiet_excerpts_count_as_much_as_loud_ones(generator):
    mixture = torch.rand(6, 3, 2, 5, generator=generator) + 0.1
    magnitudes = (0.5 * mixture, 0.4 * mixture, mixture)
    assert float(losses.relative_mse(*magnitudes)) == pytest.approx(0.01, rel=2e-3)
    gains = torch.tensor([0.1, 1.0, 1.0])[None, :, None, None]
    quiet = [gains * magnitude for magnitude in magnitudes]
    assert float(losses.relative_mse(*quiet)) == pytest.approx(0.01, rel=0.05)


# Sources that were recorded with little bandwidth


def test_band_is_limited_per_item():
    spectra = torch.ones(3, 2, 1, 17)
    limited = limit_band(spectra, torch.tensor([1000.0, math.inf]), RATE)  # bins of 250 Hz
    assert limited[0, 0, 0].tolist() == [1.0] * 5 + [0.0] * 12
    assert torch.equal(limited[:, 1], spectra[:, 1])


@pytest.mark.parametrize("name", [*LOSSES, *JOINT])
def test_loss_does_not_look_above_the_bandwidth(generator, name):
    sources = torch.randn(2, 3, 2, SAMPLES, generator=generator, dtype=torch.float64)
    bandwidth = torch.tensor([[1000.0, math.inf, math.inf], [math.inf, math.inf, math.inf]])
    scene = make_scene(sources, bandwidth)
    masks = [mask.requires_grad_() for mask in random_masks(scene, generator)]
    loss = JOINT[name](scene, masks)[0] if name in JOINT else LOSSES[name](scene, masks[0], 0)
    loss.backward()
    assert masks[0].grad[:, 0, :, :5].abs().sum() > 0
    assert masks[0].grad[:, 0, :, 5:].abs().sum() == 0
    assert masks[0].grad[:, 1, :, 5:].abs().sum() > 0
