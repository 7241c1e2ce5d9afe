"""Preprocessing of audio of any shape, and the helpers of training loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openunmix import pretrained, utils
from openunmix.pretrained import folder as checkpoints
from openunmix.transforms import fourier as stft
from openunmix.utils import AverageMeter, EarlyStopping, preprocess


def test_loaders_of_1_3_0_are_reexported():
    assert utils.load_separator is pretrained.load_separator
    assert utils.load_target_models is pretrained.load_target_models
    assert utils.save_checkpoint is checkpoints.save_checkpoint
    assert utils.bandwidth_to_max_bin is stft.bandwidth_to_max_bin


BATCHES = st.integers(1, 4)
SAMPLES = st.integers(3, 50)


@given(samples=st.integers(0, 50))
def test_one_axis_is_time_of_a_mono_waveform(samples):
    audio = torch.arange(float(samples))
    result = preprocess(audio)
    assert result.shape == (1, 2, samples)
    assert torch.equal(result[0], torch.stack([audio, audio]))


@given(channels=st.integers(1, 2), samples=st.integers(0, 50))
def test_channels_first_stay_as_they_are(channels, samples):
    audio = torch.rand(channels, samples)
    assert torch.equal(preprocess(audio)[0], audio.expand(2, -1))


@given(channels=st.integers(1, 2), samples=SAMPLES)
def test_channels_last_are_moved_to_the_front(channels, samples):
    audio = torch.rand(samples, channels)
    assert torch.equal(preprocess(audio)[0], audio.T.expand(2, -1))


@given(batch=BATCHES, channels=st.integers(1, 2), samples=SAMPLES)
def test_batches_keep_their_first_axis(batch, channels, samples):
    audio = torch.rand(batch, channels, samples)
    expected = audio.expand(-1, 2, -1)
    assert torch.equal(preprocess(audio), expected)
    assert torch.equal(preprocess(audio.transpose(1, 2)), expected)


@pytest.mark.parametrize("shape", [(6, 44100), (44100, 6), (1, 6, 44100), (3, 44100, 6), (3, 3)])
def test_more_than_two_channels_are_an_error_that_names_the_axes(shape):
    # 1.3.0 cut (1, 6, 44100) to two samples, and took (6, 44100) for six mono songs.
    with pytest.raises(ValueError, match=r"channels=\d+ and samples=\d+"):
        preprocess(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(), (1, 1, 2, 100)])
def test_other_numbers_of_axes_are_an_error(shape):
    with pytest.raises(ValueError, match="expected"):
        preprocess(torch.zeros(shape))


def test_input_is_not_changed():
    audio = torch.rand(2, 100)
    before = audio.clone()
    preprocess(audio, 44100, 16000)
    assert torch.equal(audio, before)


def test_rate_is_converted():
    time = torch.arange(44100) / 44100
    result = preprocess(torch.sin(2 * math.pi * 1000 * time), rate=44100.0, model_rate=16000.0)
    assert result.shape == (1, 2, 16000)
    expected = torch.sin(2 * math.pi * 1000 * torch.arange(16000) / 16000)
    # The ends of the tone are steps, which no filter of finite length keeps.
    assert torch.allclose(result[0, 0, 500:-500], expected[500:-500], atol=1e-3)
    assert torch.equal(result[0, 0], result[0, 1])


def test_equal_rates_change_nothing():
    audio = torch.rand(2, 100)
    assert torch.equal(preprocess(audio, 44100, torch.tensor(44100.0))[0], audio)
    assert torch.equal(preprocess(audio, rate=48000)[0], audio)


def test_missing_rate_is_an_error_and_not_a_guess():
    with pytest.raises(ValueError, match="rate is missing"):
        preprocess(torch.rand(2, 100), model_rate=44100)


@pytest.mark.parametrize(
    "rate",
    [0, -1, math.nan, math.inf, 44100.5, "44100", b"44100", True, [44100], torch.ones(2), 1j],
)
def test_rate_that_is_none_is_an_error(rate):
    with pytest.raises(ValueError, match="must be a positive whole number"):
        preprocess(torch.rand(2, 100), rate=rate, model_rate=44100)


@pytest.mark.parametrize(
    "rate", [np.int16(8000), np.float64(8000), np.array(8000), torch.tensor(8000), 8000.0]
)
def test_rate_may_be_any_kind_of_number(rate):
    audio = torch.rand(2, 100)
    assert torch.equal(preprocess(audio, rate, 16000), preprocess(audio, 8000, 16000))


def test_average_weighs_values_by_their_counts():
    meter = AverageMeter()
    assert (meter.val, meter.avg, meter.sum, meter.count) == (0, 0, 0, 0)
    meter.update(2.0)
    meter.update(5.0, n=3)
    assert (meter.val, meter.avg, meter.sum, meter.count) == (5.0, 4.25, 17.0, 4)
    meter.reset()
    assert (meter.val, meter.avg, meter.sum, meter.count) == (0, 0, 0, 0)


def steps(monitor, *values):
    """Feed values and return what the monitor said to each."""
    return [monitor.step(value) for value in values]


def test_stops_after_epochs_without_improvement():
    monitor = EarlyStopping(patience=3)
    assert steps(monitor, 3.0, 2.0, 2.0, 2.5, 1.0, 1.1, 1.2, 1.3) == [False] * 7 + [True]
    assert (monitor.best, monitor.num_bad_epochs) == (1.0, 3)


def test_larger_can_be_better():
    monitor = EarlyStopping(mode="max", patience=1)
    assert steps(monitor, 1.0, 2.0, 1.5) == [False, False, True]


def test_small_improvements_can_be_ignored():
    monitor = EarlyStopping(min_delta=0.5, patience=2)
    assert steps(monitor, 2.0, 1.75, 1.5) == [False, False, True]
    assert monitor.best == 2.0


def test_no_patience_means_never_to_stop():
    # 1.3.0 stopped at the second epoch.
    monitor = EarlyStopping(patience=0)
    assert not any(steps(monitor, *[1.0] * 100))


def test_nan_stops_and_is_never_the_best():
    # In 1.3.0 a first epoch of nan became the best, which nothing could improve on.
    monitor = EarlyStopping()
    assert monitor.step(math.nan)
    assert monitor.best is None
    assert not monitor.step(1.0)
    assert monitor.best == 1.0
    assert monitor.step(math.nan)
    assert monitor.best == 1.0


def test_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="mode='less'"):
        EarlyStopping(mode="less")
