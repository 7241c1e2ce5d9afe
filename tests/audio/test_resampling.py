from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.audio import resample
from openunmix.audio.resampling import Resampler, resampled_length

RATES = [8000, 16000, 22050, 44100, 48000, 96000]


def sine(frequency: float, rate: int, length: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(length) / rate + 0.3)


@pytest.mark.parametrize("rate_in", RATES)
@pytest.mark.parametrize("rate_out", RATES)
def test_resampled_sine_is_the_sine_at_the_new_rate(rate_in, rate_out):
    frequency = 1000.0
    waveform = torch.from_numpy(sine(frequency, rate_in, rate_in)).float()
    resampled = resample(waveform, rate_in, rate_out).numpy()
    expected = sine(frequency, rate_out, rate_out)
    inner = slice(rate_out // 10, -rate_out // 10)  # the ends see the silence around
    np.testing.assert_allclose(resampled[inner], expected[inner], atol=1e-4)


def test_frequencies_that_do_not_fit_are_removed():
    resampled = resample(torch.from_numpy(sine(10000, 44100, 44100)).float(), 44100, 16000)
    assert resampled[2000:-2000].abs().max() < 1e-4


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(0, 5000),
    size=st.integers(1, 3000),
    rate_in=st.sampled_from(RATES),
    rate_out=st.sampled_from(RATES),
)
def test_blocks_give_what_the_whole_gives(length, size, rate_in, rate_out):
    signal = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)
    whole = resample(torch.from_numpy(signal), rate_in, rate_out).numpy()
    resampler = Resampler(rate_in, rate_out, 2)
    blocks = [resampler.process(signal[:, i : i + size]) for i in range(0, length, size)]
    blocks.append(resampler.process(signal[:, :0], last=True))
    streamed = np.concatenate(blocks, axis=1)
    assert streamed.shape == whole.shape == (2, round(length * rate_out / rate_in))
    assert streamed.shape[1] == resampled_length(length, rate_in, rate_out)
    np.testing.assert_allclose(streamed, whole, atol=1e-6)


def test_leading_axes_dtype_and_argument_are_kept():
    waveform = torch.randn(2, 3, 1, 441, dtype=torch.float64)
    copy = waveform.clone()
    resampled = resample(waveform, 44100, 48000)
    assert resampled.shape == (2, 3, 1, 480)
    assert resampled.dtype == torch.float64
    assert torch.equal(waveform, copy)
    torch.testing.assert_close(resampled[1, 2, 0], resample(waveform[1, 2, 0], 44100, 48000))


def test_equal_rates_change_nothing():
    waveform = torch.randn(2, 100)
    assert torch.equal(resample(waveform, 44100, 44100), waveform)
    block = waveform.numpy()
    assert Resampler(44100, 44100, 2).process(block) is block


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 100)])
def test_nothing_stays_nothing(shape):
    assert resample(torch.zeros(shape), 44100, 22050).numel() == 0


@pytest.mark.parametrize("rates", [(0, 44100), (44100, 0), (-1, 44100)])
def test_rates_must_be_positive(rates):
    with pytest.raises(ValueError, match="positive"):
        resample(torch.zeros(2, 100), *rates)


def test_block_with_other_channels_is_refused():
    with pytest.raises(ValueError, match=r"\(100, 2\).*channels come first"):
        Resampler(44100, 48000, 2).process(np.zeros((100, 2), np.float32))
