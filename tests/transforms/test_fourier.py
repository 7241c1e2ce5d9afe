"""The transform: exact, invertible for every length, in agreement with its definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import golden as reference
from helpers import sounds as synth
from helpers.checks import difference
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.transforms.fourier import bandwidth_to_max_bin, hann_window, istft, magnitude, stft


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 700),
    n_fft=st.sampled_from([16, 64, 100, 256]),
    overlap=st.sampled_from([2, 4]),
    leading=st.sampled_from([(), (2,), (3, 1), (2, 2, 2)]),
)
def test_inverse_returns_the_signal_of_any_length_and_shape(samples, n_fft, overlap, leading):
    signal = torch.rand(*leading, samples, dtype=torch.float64)
    spectrum = stft(signal, n_fft, n_fft // overlap)
    frames = 1 + max(samples, n_fft // 2 + 1) // (n_fft // overlap)
    assert spectrum.shape == (*leading, n_fft // 2 + 1, frames)
    restored = istft(spectrum, n_fft, n_fft // overlap, length=samples)
    torch.testing.assert_close(restored, signal, atol=1e-12, rtol=0)


@given(samples=st.integers(1, 300))
def test_without_centring_only_whole_windows_are_frames(samples):
    spectrum = stft(torch.zeros(samples), 64, 16, center=False)
    assert spectrum.shape[-1] == 1 + (max(samples, 64) - 64) // 16


@pytest.mark.parametrize("center", [True, False])
def test_transform_is_the_sum_in_its_definition(center):
    signal = synth.noise(200, channels=1)[0].double()
    n_fft, n_hop = 32, 8
    n = torch.arange(n_fft, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * n / n_fft)
    transform = torch.exp(-2j * torch.pi * torch.outer(n[: n_fft // 2 + 1], n) / n_fft)
    padded = np.pad(signal.numpy(), n_fft // 2, mode="reflect") if center else signal.numpy()
    spectrum = stft(signal, n_fft, n_hop, center=center)
    for frame in range(spectrum.shape[-1]):
        part = torch.from_numpy(padded[frame * n_hop : frame * n_hop + n_fft]) * window
        expected = transform @ part.to(torch.complex128)
        torch.testing.assert_close(spectrum[:, frame], expected, atol=1e-13, rtol=0)


def test_clip_shorter_than_half_a_window_is_extended_with_zeros():
    # 1.3.0 could not transform clips below 2049 samples: the reflection needs that many.
    clip = synth.noise(5, channels=1)
    extended = torch.nn.functional.pad(clip, (0, 64 + 1 - 5))
    torch.testing.assert_close(stft(clip, 128, 32), stft(extended, 128, 32))


def test_memory_layout_does_not_matter():
    # 1.3.0 failed on batches with channels last.
    signal = synth.noise(6 * 500).reshape(3, 500, 4).transpose(1, 2)
    assert not signal.is_contiguous()
    torch.testing.assert_close(stft(signal, 64, 16), stft(signal.contiguous(), 64, 16))
    spectrum = stft(signal, 64, 16).transpose(0, 1)
    torch.testing.assert_close(istft(spectrum, 64, 16, length=500), signal.transpose(0, 1))


def test_tone_lands_in_its_bin():
    spectrum = magnitude(stft(synth.tone(4000, frequency=1000.0), 256, 64))
    assert (spectrum[..., 2:-2].argmax(dim=-2) == 1000 * 256 / 8000).all()


def test_result_has_the_precision_of_the_signal():
    assert stft(torch.zeros(100), 64, 16).dtype == torch.complex64
    assert stft(torch.zeros(100, dtype=torch.float64), 64, 16).dtype == torch.complex128
    assert istft(stft(torch.zeros(100, dtype=torch.float64), 64, 16), 64, 16).dtype == torch.float64


def test_own_window_is_used_in_both_directions():
    signal, window = synth.noise(500), hann_window(64).sqrt()
    spectrum = stft(signal, 64, 16, window)
    assert difference(istft(spectrum, 64, 16, window, length=500), signal) < 1e-6
    assert difference(istft(spectrum, 64, 16, length=500), signal) > 0.01


def test_magnitude_is_that_of_1_3_0():
    actual = magnitude(stft(reference.tensor("audio"), 256, 64))
    assert difference(actual, reference.tensor("spectrogram/input")) < 1e-6


def test_gradient_of_the_magnitude_of_silence_is_zero():
    silence = torch.zeros(2, 300, requires_grad=True)
    stft(silence, 64, 16).abs().sum().backward()
    assert (silence.grad == 0).all()


def test_gradient_of_transform_and_inverse():
    signal = torch.randn(1, 50, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: stft(x, 16, 4), signal)
    spectrum = stft(signal, 16, 4).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: istft(x, 16, 4, length=50), spectrum)


def test_signal_without_samples_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        stft(torch.zeros(2, 0), 64, 16)


def test_bandwidth_gives_the_bins_of_1_3_0():
    table = json.loads(
        Path(__file__).parents[1].joinpath("golden", "openunmix_1_3_0.json").read_text()
    )
    for rate, n_fft, bandwidth, expected in table["bandwidth_to_max_bin"]:
        assert bandwidth_to_max_bin(rate, n_fft, bandwidth) == expected


@given(
    rate=st.integers(8000, 96000),
    n_fft=st.sampled_from([128, 1024, 2048, 4096]),
    bandwidth=st.integers(0, 48000),
)
def test_bandwidth_counts_the_bins_at_or_below_it(rate, n_fft, bandwidth):
    inside = sum(k * rate <= bandwidth * n_fft for k in range(n_fft // 2 + 1))
    assert bandwidth_to_max_bin(rate, n_fft, bandwidth) == inside
