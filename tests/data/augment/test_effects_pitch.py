"""Pitch, tempo and spectrum: tones and beats move where they should."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.sounds import noise, panned, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.data.augment.effects import equaliser_gains, pitch_shift, resample_to, time_stretch

RATE = 8000


def frequency(waveform):
    """Frequency in Hz of the strongest partial of the first channel, away from the ends."""
    inner = waveform[0, RATE // 4 : -RATE // 4].double()
    window = torch.hann_window(inner.shape[-1], periodic=False, dtype=torch.float64)
    padded = torch.fft.rfft(inner * window, 16 * inner.shape[-1])
    return float(padded.abs().argmax()) * RATE / (16 * inner.shape[-1])


@pytest.mark.parametrize("semitones", [-2.0, -0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("tempo", [0.9, 1.0, 1.1])
def test_tone_moves_to_the_right_frequency_and_lasts_the_right_time(semitones, tempo):
    sound = tone(2 * RATE, 440.0)
    result = pitch_shift(sound, semitones, tempo)
    assert result.shape == (2, round(2 * RATE / tempo))
    assert frequency(result) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)
    inner = result[:, RATE // 4 : -RATE // 4]
    assert float(inner.abs().max()) == pytest.approx(0.5, rel=0.1)


def test_tempo_moves_the_beats():
    rate, burst = 44100, 2205
    beats = [rate // 4 + k * rate // 2 for k in range(4)]
    sound = torch.zeros(1, 2 * rate)
    for beat in beats:
        sound[:, beat : beat + burst] = tone(burst, 1000.0, rate, channels=1)
    for tempo in (0.8, 1.25):
        power = time_stretch(sound, tempo).square()[0]
        for beat in beats:
            expected = round((beat + burst / 2) / tempo)
            part = power[expected - 5000 : expected + 5000]
            centre = float((part * torch.arange(10000)).sum() / part.sum()) - 5000
            assert abs(centre) < 0.01 * rate


def test_stretch_by_one_is_the_sound_itself():
    sound = noise(5001)
    torch.testing.assert_close(time_stretch(sound, 1.0), sound, atol=1e-5, rtol=1e-4)


def test_side_of_a_sound_is_kept():
    sound = panned(tone(2 * RATE, 440.0), -0.5)
    result = pitch_shift(sound, 1.5, 1.05)[:, RATE // 4 : -RATE // 4]
    levels = result.square().mean(dim=-1).sqrt()
    ratio = sound.square().mean(dim=-1).sqrt()
    assert float(levels[0] / levels[1]) == pytest.approx(float(ratio[0] / ratio[1]), rel=1e-3)


def test_sound_in_opposite_phase_is_not_lost():
    sound = tone(2 * RATE, 440.0)
    sound[1] *= -1
    result = time_stretch(sound, 1.1)[:, RATE // 4 : -RATE // 4]
    torch.testing.assert_close(result[1], -result[0], atol=1e-4, rtol=1e-3)
    assert float(result.abs().max()) == pytest.approx(0.5, rel=0.1)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9000), st.floats(0.5, 2.0), st.sampled_from([(1,), (2,), (3, 2)]))
def test_any_length_and_leading_axes(samples, tempo, axes):
    sound = torch.ones(*axes, samples)
    result = pitch_shift(sound, 1.0, tempo)
    assert result.shape == (*axes, round(samples / tempo))
    assert result.isfinite().all()


def test_resampling_keeps_tones_below_both_limits_and_drops_others():
    sound = tone(RATE, 1000.0) + tone(RATE, 3500.0)
    down = resample_to(sound, 3 * RATE // 4)  # tones up to 3000 Hz
    torch.testing.assert_close(
        down, tone(3 * RATE // 4, 1000.0, 3 * RATE // 4), atol=1e-4, rtol=1e-4
    )
    up = resample_to(sound, 2 * RATE)
    torch.testing.assert_close(up[:, ::2], sound, atol=1e-4, rtol=1e-4)


def test_gains_of_equalisers_have_the_spread_and_are_smooth():
    rate = 44100
    gains = equaliser_gains(4000, 2049, rate, 4.0, torch.Generator().manual_seed(1))
    decibels = 20 * gains.log10()
    place = (rate / 2 / 60) ** torch.linspace(0, 1, 500) * 60  # equal steps of the logarithm
    even = decibels[:, (place / (rate / 2) * 2048).round().long().clamp(max=2048)]
    assert math.isclose(float(even.square().mean().sqrt()), 4.0, rel_tol=0.1)
    assert abs(float(even.mean())) < 0.1
    third_of_an_octave = decibels[:, 126] - decibels[:, 100]
    assert 0.1 < float(third_of_an_octave.std()) < 2.0
