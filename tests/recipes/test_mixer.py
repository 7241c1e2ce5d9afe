"""Batches mixed on the device."""

from __future__ import annotations

import math

import pytest
import torch
from mixer import TARGETS, Mixer

from openunmix.data.stems import Stem

SAMPLES = 44100


def ramp(track, target, sides=2, seconds=4, bandwidth=math.inf):
    """Make a stem whose samples tell the time: 1000 and one more every hundred samples."""
    samples = (1000 + torch.arange(seconds * 44100) // 100).to(torch.int16)
    return Stem(track, target, samples.expand(sides, -1).clone(), 0.03, bandwidth)


@pytest.fixture
def stems():
    """Two songs, and a dry voice without treble."""
    stems = {
        target: {"songs": [ramp(song, target) for song in ("one", "two")]} for target in TARGETS
    }
    stems["vocals"]["solo"] = [ramp("solo", "vocals", sides=1, bandwidth=8000.0)]
    return stems


def mixer(stems, solo=0.0, seed=0):
    """Make a mixer of excerpts of a second."""
    shares = {target: {"songs": 1.0} for target in TARGETS}
    shares["vocals"] = {"songs": 1 - solo, "solo": solo}
    return Mixer(stems, shares, 1.0, torch.device("cpu"), seed)


def test_a_mixture_is_the_sum_of_its_sources(stems):
    batch = mixer(stems, solo=0.5).batch(16)
    assert batch.mixture.shape == (16, 2, SAMPLES)
    assert batch.sources.shape == (16, 4, 2, SAMPLES)
    torch.testing.assert_close(batch.mixture, batch.sources.sum(dim=1))
    assert batch.mixture.isfinite().all()


def test_batches_follow_from_the_seed(stems):
    one, two, other = (mixer(stems, seed=seed).batch(4).mixture for seed in (1, 1, 2))
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, other)


def test_voices_without_treble_say_so_and_others_do_not(stems):
    bandwidth = mixer(stems, solo=1.0).batch(16).bandwidth
    assert (bandwidth[:, 0] > 8000 * 2 ** (-4.1 / 12)).all()
    assert (bandwidth[:, 0] < 8000 * 2 ** (4.1 / 12)).all()
    assert bandwidth[:, 1:].isinf().all()
    assert mixer(stems).batch(16).bandwidth.isinf().all()


def test_some_excerpts_are_of_one_time_of_a_song(stems, monkeypatch):
    monkeypatch.setattr("mixer._TOGETHER", 1.0)
    monkeypatch.setattr("mixer._SILENT", 0.0)
    monkeypatch.setattr("mixer._LAYERS", {})
    monkeypatch.setattr("mixer._DRIVES", {})
    sources = mixer(stems).batch(8).sources[:, :, 0]
    # Of every item, where its ramps begin relative to how steep they are.
    begin = sources[:, :, 0] / (sources[:, :, -1] - sources[:, :, 0])
    torch.testing.assert_close(begin[:, 1], begin[:, 2])
    torch.testing.assert_close(begin[:, 1], begin[:, 3])
    assert not torch.isclose(begin[:, 0], begin[:, 1], rtol=1e-3).any()


def test_sources_are_silent_now_and_then(stems):
    power = mixer(stems).batch(400).sources.square().mean(dim=(2, 3))
    assert 0.02 < (power == 0).float().mean() < 0.12


def test_dry_voices_are_panned_and_placed_in_rooms(stems, monkeypatch):
    monkeypatch.setattr("mixer._SILENT", 0.0)
    monkeypatch.setattr("mixer._DRIVES", {})
    monkeypatch.setattr("mixer._DOUBLED", (0.0, 0.0))
    monkeypatch.setattr("mixer._REVERBERANT", (0.0, 0.0))
    plain = mixer(stems, solo=1.0).batch(16).sources[:, 0]
    ratio = plain[:, 0] / plain[:, 1]
    assert (ratio.std(dim=1) < 1e-3).all()
    assert ratio.mean(dim=1).std() > 0.05
    monkeypatch.setattr("mixer._REVERBERANT", (0.0, 1.0))
    placed = mixer(stems, solo=1.0).batch(16).sources[:, 0]
    assert ((placed[:, 0] / placed[:, 1]).std(dim=1) > 1e-3).all()
