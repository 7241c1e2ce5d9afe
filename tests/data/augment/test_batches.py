"""Augmentation of batches: pitch, tempo, levels, sides and remixing."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.sounds import noise, tone

from openunmix.data.augment.batches import Batch, BatchAugmentation

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


def test_nothing_changes_without_a_reason():
    mixture, sources = batch()
    result = STILL(Batch(mixture, sources), seeded())
    torch.testing.assert_close(result.mixture, mixture)
    assert torch.equal(result.sources, sources)
    assert result.bandwidth is None


def test_result_follows_from_the_generator_and_arguments_stay():
    mixture, sources = batch()
    copies = mixture.clone(), sources.clone()
    change = BatchAugmentation(changed=0.6, sample_rate=RATE)
    first, again, other = (change(Batch(mixture, sources), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first.mixture, again.mixture)
    assert not torch.equal(first.mixture, other.mixture)
    assert torch.equal(copies[0], mixture)
    assert torch.equal(copies[1], sources)


def test_excerpts_are_shorter_by_the_tempo():
    mixture, sources = batch()
    result = with_changes(changed=0.5, tempo=0.25)(Batch(mixture, sources), seeded())
    assert result.mixture.shape == (4, 2, RATE * 4 // 5)
    assert result.sources.shape == (4, 2, 2, RATE * 4 // 5)


def test_sources_of_an_item_stay_in_tune_and_in_time():
    sources = torch.stack([tone(2 * RATE, 300.0), tone(2 * RATE, 600.0)])[None]
    change = with_changes(changed=1, semitones=2, tempo=0.1)
    result = change(Batch(sources.sum(dim=1), sources), seeded(5)).sources[0]
    low, high = frequency(result[0]), frequency(result[1])
    assert abs(low - 300) > 3
    assert high == pytest.approx(2 * low, rel=2e-3)


def test_gains_are_drawn_for_every_source_and_the_rest_of_the_mixture():
    mixture, sources = torch.full((8, 2, 4), 3.0), torch.ones(8, 2, 2, 4)
    result = with_changes(gain=(0.5, 2.0), pan=0)(Batch(mixture, sources), seeded())
    gains = result.sources[:, :, 0, 0]
    rest = result.mixture[:, 0, 0] - gains.sum(dim=1)
    drawn = torch.cat([gains.flatten(), rest])
    assert 0.5 <= float(drawn.min()) < 0.7
    assert 1.6 < float(drawn.max()) <= 2.0
    assert len(set(drawn.tolist())) == 24


def test_channels_are_swapped_with_the_given_probability():
    sources = torch.stack([torch.ones(200, 1, 4), torch.zeros(200, 1, 4)], dim=2)
    result = with_changes(swap=0.25)(Batch(sources.sum(dim=1), sources), seeded()).sources
    share = float((result[:, 0, 1, 0] == 1).float().mean())
    assert 0.15 < share < 0.35


def test_mono_is_panned_at_constant_power_and_stereo_is_left():
    mono, stereo = torch.ones(50, 2, 4), torch.stack([torch.ones(50, 4), torch.zeros(50, 4)], 1)
    sources = torch.stack([mono, stereo], dim=1)
    result = with_changes(pan=0.5)(Batch(sources.sum(dim=1), sources), seeded()).sources
    assert torch.equal(result[:, 1], stereo)
    panned_ = result[:, 0, :, 0]
    torch.testing.assert_close(panned_.square().sum(dim=1), torch.full((50,), 2.0))
    assert float((panned_[:, 0] - panned_[:, 1]).abs().max()) > 0.5
    assert float(panned_.min()) > 0.5


def test_remixing_moves_sources_with_their_bandwidth_and_loses_none():
    mixture, sources = batch(items=8)
    bandwidth = torch.arange(16.0).reshape(8, 2)
    result = with_changes(remix=1.0)(Batch(mixture, sources, bandwidth), seeded())
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
    result = change(Batch(mixture, sources, bandwidth), seeded()).bandwidth
    ratio = result[:, 0] / 1000
    assert float(ratio.min()) >= 2 ** (-2 / 12)
    assert float(ratio.max()) <= 2 ** (2 / 12)
    lower = ratio < 1
    assert 0 < int(lower.sum()) < 16
    torch.testing.assert_close(result[lower, 1], RATE / 2 * ratio[lower])
    assert result[~lower, 1].isinf().all()
    assert float(bandwidth[0, 0]) == 1000
    assert change(Batch(mixture, sources), seeded()).bandwidth is not None


def test_mono_batches_work():
    mixture, sources = batch(channels=1)
    result = BatchAugmentation(sample_rate=RATE)(Batch(mixture, sources), seeded())
    assert result.sources.shape[:3] == (4, 2, 1)
