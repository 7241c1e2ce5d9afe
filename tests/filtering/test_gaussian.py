"""The local Gaussian model against 1.3.0's golden vectors, norbert and double precision."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checks import (
    check_dtype_device,
    check_finite_gradient,
    check_gradient,
    check_leading_axes,
    check_not_mutated,
    check_sums_to_mixture,
    decibels,
)
from helpers.stfts import DIFFICULT, random_stft, shares_of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from openunmix.filtering.gaussian import (
    expectation_maximization,
    power_spectral_density,
    spatial_covariance,
    wiener,
    wiener_gain,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "openunmix_1_3_0.npz")


def golden(key: str, axis: int = -2) -> Tensor:
    real, imaginary = torch.from_numpy(GOLDEN[key]).unbind(dim=axis)
    return torch.complex(real, imaginary)


@pytest.mark.parametrize("key", [key for key in GOLDEN if key.startswith("wiener/out")])
def test_the_exact_phase_is_within_single_precision_of_1_3_0(key):
    # In 1.3.0 pi is a single-precision number: its angles are off by 9e-8 in the left half-plane.
    # openunmix.filtering has that phase, and is equal to 1e-10.
    magnitudes = torch.from_numpy(GOLDEN["wiener/targets_spectrograms"])
    iterations, softmask, residual = (int(part[-1]) for part in key.split("_")[1:])
    mixture = golden("wiener/mix_stft", axis=-1)
    estimates = wiener(
        magnitudes, mixture, iterations, softmask=bool(softmask), residual=bool(residual)
    )
    expected = golden(key)
    tolerance = 1e-10 if softmask else 1e-7
    assert (estimates - expected).abs().max() <= tolerance * expected.abs().max()


def test_expectation_maximization_equals_1_3_0():
    model = expectation_maximization(golden("em/y"), golden("wiener/mix_stft", axis=-1))
    for result, expected in (
        (model.sources, golden("em/out_y")),
        (model.psd, torch.from_numpy(GOLDEN["em/out_v"])),
        (model.covariance, golden("em/out_R")),
    ):
        assert (result - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.fixture(scope="module")
def norbert():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports old names of SciPy
        return pytest.importorskip("norbert", exc_type=ImportError)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_equals_norbert(norbert, channels, softmask, iterations):
    mixture = 20 * random_stft(12, 5, channels)
    magnitudes = shares_of(mixture)
    estimates = wiener(magnitudes, mixture, iterations, softmask=softmask)
    expected = norbert.wiener(
        magnitudes.numpy().copy(),
        mixture.numpy().copy(),
        iterations,
        use_softmask=softmask,
        eps=1e-10,
    )
    # norbert adds eps to the denominator of one channel, and inverts more than two by SVD.
    assert decibels(estimates - torch.from_numpy(expected), estimates) < -150


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_gains_sum_to_the_identity(channels):
    sources = random_stft(20, 4, channels, 3)
    gains = wiener_gain(power_spectral_density(sources), spatial_covariance(sources))
    identity = torch.eye(channels, dtype=gains.dtype).expand(20, 4, channels, channels)
    torch.testing.assert_close(gains.sum(dim=-1), identity, atol=1e-3, rtol=0)


def test_gains_of_two_channels_equal_their_definition():
    sources = random_stft(20, 4, 2, 3)
    psd, covariance = power_spectral_density(sources), spatial_covariance(sources)
    weighted = psd[:, :, None, None, :] * covariance
    total = weighted.sum(dim=-1) + 1e-5 * torch.eye(2)
    expected = torch.einsum("tfcdj,tfde->tfcej", weighted, torch.linalg.inv(total))
    torch.testing.assert_close(wiener_gain(psd, covariance), expected)


def test_an_iteration_applies_the_gain():
    mixture, sources = random_stft(20, 4, 2), random_stft(20, 4, 2, 3, seed=2)
    model = expectation_maximization(sources, mixture, iterations=1)
    gain = wiener_gain(model.psd, model.covariance)
    expected = torch.einsum("tfcdj,tfd->tfcj", gain, mixture)
    torch.testing.assert_close(model.sources, expected)


def test_no_iteration_returns_the_sources_and_their_model():
    sources = random_stft(20, 4, 2, 3)
    model = expectation_maximization(sources, random_stft(20, 4, 2, seed=2), iterations=0)
    assert torch.equal(model.sources, sources)
    assert torch.equal(model.psd, power_spectral_density(sources))


@given(
    frames=st.integers(1, 6),
    bins=st.integers(1, 4),
    channels=st.integers(1, 4),
    sources=st.integers(1, 3),
    iterations=st.integers(0, 2),
    softmask=st.booleans(),
    residual=st.booleans(),
)
def test_any_shape_is_separated(frames, bins, channels, sources, iterations, softmask, residual):
    mixture = random_stft(frames, bins, channels).to(torch.complex64)
    magnitudes = shares_of(mixture, sources).to(torch.float32)
    estimates = wiener(magnitudes, mixture, iterations, softmask=softmask, residual=residual)
    assert estimates.shape == (frames, bins, channels, sources + residual)
    assert estimates.dtype == torch.complex64
    assert torch.isfinite(estimates).all()


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_with_the_residual_estimates_sum_to_the_mixture(iterations):
    mixture = random_stft(50, 4, 2)
    estimates = wiener(shares_of(mixture), mixture, iterations, residual=True)
    # The noise of the model, 1e-5 in power, takes its share of what is quiet.
    check_sums_to_mixture(estimates, mixture, axis=-1, tolerance=1e-3)


@pytest.mark.parametrize("iterations", [1, 2])
def test_permuting_channels_or_sources_permutes_the_estimates(iterations):
    mixture = random_stft(20, 4, 2)
    magnitudes = shares_of(mixture)
    estimates = wiener(magnitudes, mixture, iterations)
    swapped = wiener(magnitudes.flip(2), mixture.flip(2), iterations)
    torch.testing.assert_close(swapped.flip(2), estimates)
    reordered = wiener(magnitudes[..., [2, 0, 1]], mixture, iterations)
    torch.testing.assert_close(reordered, estimates[..., [2, 0, 1]])


@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_arguments_are_not_mutated(channels, iterations):
    # 1.3.0 wrote 1 into every silent value of the caller's mixture, and over the sources of EM.
    mixture = random_stft(10, 4, channels)
    mixture[3] = 0

    def separate(magnitudes, mixture):
        return wiener(magnitudes, mixture, iterations, residual=True)

    check_not_mutated(separate, shares_of(mixture), mixture)
    check_not_mutated(expectation_maximization, random_stft(10, 4, channels, 3), mixture)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_leading_axes_dtype_and_device(channels):
    mixture = 30 * random_stft(10, 4, channels)

    def separate(magnitudes, mixture):
        return wiener(magnitudes, mixture, 2, residual=True)

    check_leading_axes(separate, shares_of(mixture), mixture)
    check_dtype_device(separate, shares_of(mixture), mixture)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_gradients_are_right(scale, channels, iterations, softmask, residual):
    mixture = scale * random_stft(2, 1, channels)

    def separate(magnitudes, mixture):
        return wiener(magnitudes, mixture, iterations, softmask=softmask, residual=residual)

    check_gradient(separate, shares_of(mixture, sources=2), mixture)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_gradients_at_silence_are_finite(channels, iterations, dtype):
    mixture = random_stft(6, 4, channels).to(dtype)
    mixture[2] = 0  # a frame
    mixture[:, 1] = 0  # a bin
    mixture[:, 2, 0] = 0  # a channel of a bin
    magnitudes = shares_of(mixture)
    magnitudes[4] = 0

    def separate(magnitudes, mixture):
        return wiener(magnitudes, mixture, iterations, residual=True)

    check_finite_gradient(separate, magnitudes, mixture)
    check_finite_gradient(separate, 0 * magnitudes, 0 * mixture)


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", DIFFICULT)
def test_single_precision_is_as_good_as_double(name, residual, iterations):
    # In 1.3.0 two equal channels gave bursts of NaN: the determinant of the mixture covariance
    # was rounding noise. One file in three was hit, through the duplication of mono files.
    magnitudes, mixture = DIFFICULT[name]
    expected = wiener(magnitudes, mixture, iterations, residual=residual)
    estimates = wiener(
        magnitudes.to(torch.float32), mixture.to(torch.complex64), iterations, residual=residual
    )
    assert decibels(estimates - expected, mixture) < -90


def test_equal_channels_stay_equal():
    magnitudes, mixture = DIFFICULT["dual mono at 1"]
    left, right = wiener(magnitudes.to(torch.float32), mixture.to(torch.complex64), 1).unbind(2)
    assert decibels(left - right, left) < -120


def test_three_equal_channels_are_separated_in_single_precision():
    centre = random_stft(50, 4, 1)
    magnitudes, mixture = shares_of(centre).repeat(1, 1, 3, 1), centre.repeat(1, 1, 3)
    expected = wiener(magnitudes, mixture, 1)
    estimates = wiener(magnitudes.to(torch.float32), mixture.to(torch.complex64), 1)
    assert decibels(estimates - expected, expected) < -95


def test_silence_stays_silent():
    silence = torch.zeros(5, 3, 2, dtype=torch.complex64)
    for iterations in (0, 1, 2):
        estimates = wiener(torch.zeros(5, 3, 2, 2), silence, iterations, residual=True)
        assert torch.equal(estimates, torch.zeros(5, 3, 2, 3, dtype=torch.complex64))


def test_the_phase_of_silence_is_zero():
    mixture = torch.zeros(1, 1, 1, dtype=torch.complex64)
    assert wiener(torch.ones(1, 1, 1, 1), mixture, 0).item() == 1


def test_precisions_may_be_mixed():
    mixture = random_stft(6, 2, 3)
    estimates = wiener(shares_of(mixture), mixture.to(torch.complex64))
    torch.testing.assert_close(estimates, wiener(shares_of(mixture), mixture), rtol=1e-4, atol=1e-4)


def test_wrong_shapes_are_named():
    mixture = random_stft(5, 3, 2)
    with pytest.raises(ValueError, match=r"magnitudes have shape .*\(5, 3, 1, 2\)"):
        wiener(torch.ones(5, 3, 1, 2), mixture)
    with pytest.raises(ValueError, match=r"sources have shape .*\(5, 4, 2, 2\)"):
        expectation_maximization(random_stft(5, 4, 2, 2), mixture)
    with pytest.raises(ValueError, match="bins=3 and sources=2"):
        wiener_gain(torch.ones(5, 3, 4), random_stft(3, 2, 2, 2))
    with pytest.raises(ValueError, match="iterations is -1"):
        wiener(torch.ones(5, 3, 2, 2), mixture, -1)
