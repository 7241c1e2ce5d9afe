"""Augmentation of batches: pitch, tempo, levels, sides and remixing."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.sounds import noise, panned, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.data.augment.batches import BatchAugmentation, resample_to, shift, stretch

RATE = 8000
STILL = BatchAugmentation(
    gain=(1, 1), swap=0, pan=0, remix=0, changed=0, semitones=0, tempo=0, sample_rate=RATE
)


def with_changes(**settings_):
    return BatchAugmentation(**{**vars(STILL), **settings_})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(items=4, targets=2, channels=2, samples=RATE):
    """Sources of noise, and mixtures with something more."""
    sources = torch.stack(
        [
            torch.stack([noise(samples, channels, seed=10 * i + j) for j in range(targets)])
            for i in range(items)
        ]
    )
    rest = torch.stack([noise(samples, channels, seed=1000 + i) for i in range(items)])
    return sources.sum(dim=1) + rest, sources


def frequency(waveform):
    """Frequency in Hz of the strongest partial of the first channel, away from the ends."""
    inner = waveform[0, RATE // 4 : -RATE // 4].double()
    window = torch.hann_window(inner.shape[-1], periodic=False, dtype=torch.float64)
    padded = torch.fft.rfft(inner * window, 16 * inner.shape[-1])
    return float(padded.abs().argmax()) * RATE / (16 * inner.shape[-1])


@pytest.mark.parametrize("semitones", [-2.0, -0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("faster", [0.9, 1.0, 1.1])
def test_tone_moves_to_the_right_frequency_and_lasts_the_right_time(semitones, faster):
    sound = tone(2 * RATE, 440.0)
    result = shift(sound, semitones, faster)
    assert result.shape == (2, round(2 * RATE / faster))
    assert frequency(result) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)
    inner = result[:, RATE // 4 : -RATE // 4]
    assert float(inner.abs().max()) == pytest.approx(0.5, rel=0.1)


def test_tempo_moves_the_beats():
    rate, burst = 44100, 2205
    beats = [rate // 4 + k * rate // 2 for k in range(4)]
    sound = torch.zeros(1, 2 * rate)
    for beat in beats:
        sound[:, beat : beat + burst] = tone(burst, 1000.0, rate, channels=1)
    for faster in (0.8, 1.25):
        power = stretch(sound, faster).square()[0]
        for beat in beats:
            expected = round((beat + burst / 2) / faster)
            part = power[expected - 5000 : expected + 5000]
            centre = float((part * torch.arange(10000)).sum() / part.sum()) - 5000
            assert abs(centre) < 0.01 * rate


def test_stretch_by_one_is_the_sound_itself():
    sound = noise(5001)
    torch.testing.assert_close(stretch(sound, 1.0), sound, atol=1e-5, rtol=1e-4)


def test_side_of_a_sound_is_kept():
    sound = panned(tone(2 * RATE, 440.0), -0.5)
    result = shift(sound, 1.5, 1.05)[:, RATE // 4 : -RATE // 4]
    levels = result.square().mean(dim=-1).sqrt()
    ratio = sound.square().mean(dim=-1).sqrt()
    assert float(levels[0] / levels[1]) == pytest.approx(float(ratio[0] / ratio[1]), rel=1e-3)


def test_sound_in_opposite_phase_is_not_lost():
    sound = tone(2 * RATE, 440.0)
    sound[1] *= -1
    result = stretch(sound, 1.1)[:, RATE // 4 : -RATE // 4]
    torch.testing.assert_close(result[1], -result[0], atol=1e-4, rtol=1e-3)
    assert float(result.abs().max()) == pytest.approx(0.5, rel=0.1)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9000), st.floats(0.5, 2.0), st.sampled_from([(1,), (2,), (3, 2)]))
def test_any_length_and_leading_axes(samples, faster, axes):
    sound = torch.ones(*axes, samples)
    result = shift(sound, 1.0, faster)
    assert result.shape == (*axes, round(samples / faster))
    assert result.isfinite().all()


def test_resampling_keeps_tones_below_both_limits_and_drops_others():
    sound = tone(RATE, 1000.0) + tone(RATE, 3500.0)
    down = resample_to(sound, 3 * RATE // 4)  # tones up to 3000 Hz
    torch.testing.assert_close(
        down, tone(3 * RATE // 4, 1000.0, 3 * RATE // 4), atol=1e-4, rtol=1e-4
    )
    up = resample_to(sound, 2 * RATE)
    torch.testing.assert_close(up[:, ::2], sound, atol=1e-4, rtol=1e-4)


def test_nothing_changes_without_a_reason():
    mixture, sources = batch()
    result = STILL(mixture, sources, seeded())
    torch.testing.assert_close(result.mixture, mixture)
    assert torch.equal(result.sources, sources)
    assert result.bandwidth is None


def test_result_follows_from_the_generator_and_arguments_stay():
    mixture, sources = batch()
    copies = mixture.clone(), sources.clone()
    change = BatchAugmentation(changed=0.6, sample_rate=RATE)
    first, again, other = (change(mixture, sources, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first.mixture, again.mixture)
    assert not torch.equal(first.mixture, other.mixture)
    assert torch.equal(copies[0], mixture)
    assert torch.equal(copies[1], sources)


def test_excerpts_are_shorter_by_the_tempo():
    mixture, sources = batch()
    result = with_changes(changed=0.5, tempo=0.25)(mixture, sources, seeded())
    assert result.mixture.shape == (4, 2, RATE * 4 // 5)
    assert result.sources.shape == (4, 2, 2, RATE * 4 // 5)


def test_sources_of_an_item_stay_in_tune_and_in_time():
    sources = torch.stack([tone(2 * RATE, 300.0), tone(2 * RATE, 600.0)])[None]
    change = with_changes(changed=1, semitones=2, tempo=0.1)
    result = change(sources.sum(dim=1), sources, seeded(5)).sources[0]
    low, high = frequency(result[0]), frequency(result[1])
    assert abs(low - 300) > 3
    assert high == pytest.approx(2 * low, rel=2e-3)


def test_gains_are_drawn_for_every_source_and_the_rest_of_the_mixture():
    mixture, sources = torch.full((8, 2, 4), 3.0), torch.ones(8, 2, 2, 4)
    result = with_changes(gain=(0.5, 2.0), pan=0)(mixture, sources, seeded())
    gains = result.sources[:, :, 0, 0]
    rest = result.mixture[:, 0, 0] - gains.sum(dim=1)
    drawn = torch.cat([gains.flatten(), rest])
    assert 0.5 <= float(drawn.min()) < 0.7
    assert 1.6 < float(drawn.max()) <= 2.0
    assert len(set(drawn.tolist())) == 24


def test_channels_are_swapped_with_the_given_probability():
    sources = torch.stack([torch.ones(200, 1, 4), torch.zeros(200, 1, 4)], dim=2)
    result = with_changes(swap=0.25)(sources.sum(dim=1), sources, seeded()).sources
    share = float((result[:, 0, 1, 0] == 1).float().mean())
    assert 0.15 < share < 0.35


def test_mono_is_panned_at_constant_power_and_stereo_is_left():
    mono, stereo = torch.ones(50, 2, 4), torch.stack([torch.ones(50, 4), torch.zeros(50, 4)], 1)
    sources = torch.stack([mono, stereo], dim=1)
    result = with_changes(pan=0.5)(sources.sum(dim=1), sources, seeded()).sources
    assert torch.equal(result[:, 1], stereo)
    panned_ = result[:, 0, :, 0]
    torch.testing.assert_close(panned_.square().sum(dim=1), torch.full((50,), 2.0))
    assert float((panned_[:, 0] - panned_[:, 1]).abs().max()) > 0.5
    assert float(panned_.min()) > 0.5


def test_remixing_moves_sources_with_their_bandwidth_and_loses_none():
    mixture, sources = batch(items=8)
    bandwidth = torch.arange(16.0).reshape(8, 2)
    result = with_changes(remix=1.0)(mixture, sources, seeded(), bandwidth)
    for j in range(2):
        before = dict(zip(sources[:, j, 0, 0].tolist(), bandwidth[:, j].tolist(), strict=True))
        moved = result.sources[:, j, 0, 0].tolist()
        assert dict(zip(moved, result.bandwidth[:, j].tolist(), strict=True)) == before
        assert moved != list(before)
    torch.testing.assert_close(result.mixture.sum(dim=0), mixture.sum(dim=0))


def test_bandwidth_moves_with_the_pitch():
    mixture, sources = batch(items=16)
    bandwidth = torch.tensor([[1000.0, math.inf]]).repeat(16, 1)
    change = with_changes(changed=1.0, semitones=2.0)
    result = change(mixture, sources, seeded(), bandwidth).bandwidth
    ratio = result[:, 0] / 1000
    assert float(ratio.min()) >= 2 ** (-2 / 12)
    assert float(ratio.max()) <= 2 ** (2 / 12)
    lower = ratio < 1
    assert 0 < int(lower.sum()) < 16
    torch.testing.assert_close(result[lower, 1], RATE / 2 * ratio[lower])
    assert result[~lower, 1].isinf().all()
    assert float(bandwidth[0, 0]) == 1000
    assert change(mixture, sources, seeded()).bandwidth is not None


def test_mono_batches_work():
    mixture, sources = batch(channels=1)
    result = BatchAugmentation(sample_rate=RATE)(mixture, sources, seeded())
    assert result.sources.shape[:3] == (4, 2, 1)
