"""Synthetic songs: stereo, endless, in time, and separable by their spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.data import SyntheticDataset, aug_from_str, synthetic_song

SOURCES = ["vocals", "drums", "bass", "other"]
RATE = 44100


@pytest.fixture(scope="module")
def songs():
    """Make a few songs."""
    return [synthetic_song(np.random.default_rng(seed), 4 * RATE) for seed in range(6)]


def magnitudes(source):
    """Return magnitudes (bins, frames) of the middle."""
    window = torch.hann_window(4096)
    return torch.stft(source.mean(dim=0), 4096, 1024, window=window, return_complex=True).abs()


def centroid(source):
    """Return the frequency in Hz below which half of the power is."""
    power = magnitudes(source).square().sum(dim=1).cumsum(0)
    return float((power < power[-1] / 2).sum() * RATE / 4096)


def test_songs_have_four_sources_at_usual_levels(songs):
    for song in songs:
        assert list(song) == SOURCES
        for source in song.values():
            assert source.shape == (2, 4 * RATE)
            assert source.dtype == torch.float32
            level = 20 * float(source.square().mean().sqrt().log10())
            assert -40 < level < -18
        assert float(sum(song.values()).abs().max()) < 1.2


def test_same_generator_gives_the_same_song():
    first, again, other = (
        synthetic_song(np.random.default_rng(seed), 8000, 8000) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in SOURCES)
    assert not any(torch.equal(first[name], other[name]) for name in SOURCES)


def test_sources_sound_as_they_are_called(songs):
    for song in songs:
        assert centroid(song["bass"]) < 250
        assert 100 < centroid(song["vocals"]) < 1500
        # Drums are transient: their power changes from frame to frame, that of a voice glides.
        change = {
            name: float((magnitudes(song[name]).sum(dim=0) + 1e-2).log().diff().abs().median())
            for name in ("drums", "vocals", "other")
        }
        assert change["drums"] > 2 * max(change["vocals"], change["other"])


def test_sources_can_be_separated_by_masks(songs):
    # An ideal mask removes most of the interference: there is something to learn.
    for song in songs:
        spectra = {name: magnitudes(source) for name, source in song.items()}
        total = sum(spectra.values())
        for spectrum in spectra.values():
            mask = spectrum / total
            remaining = (mask * (total - spectrum)).square().sum() / spectrum.square().sum()
            assert float(remaining) < 0.3


def test_song_is_stereo_but_its_voice_and_bass_are_in_the_middle(songs):
    for song in songs:
        assert torch.equal(song["bass"][0], song["bass"][1])
        left, right = song["vocals"]
        assert float(torch.corrcoef(torch.stack([left, right]))[0, 1]) > 0.8
        left, right = song["other"]
        assert float((left - right).square().mean() / (left + right).square().mean()) > 0.005


@settings(max_examples=20, deadline=None)
@given(
    samples=st.integers(1, 30000), rate=st.sampled_from([4000, 16000, 48000]), seed=st.integers(0)
)
def test_songs_of_any_length_and_rate_are_finite(samples, rate, seed):
    for source in synthetic_song(np.random.default_rng(seed), samples, rate).values():
        assert source.shape == (2, samples)
        assert source.isfinite().all()


def test_items_are_the_mixture_and_its_target():
    for target in SOURCES:
        dataset = SyntheticDataset(target, nb_samples=2, seq_duration=0.5, sample_rate=8000)
        assert len(dataset) == 2
        mixture, found = dataset[1]
        sources = dataset.sources(1)
        assert torch.equal(found, sources[target])
        torch.testing.assert_close(mixture, sum(sources.values()))
        assert mixture.shape == (2, 4000)


def test_songs_never_end_and_validation_has_its_own():
    train = SyntheticDataset(nb_samples=5, seq_duration=0.1, sample_rate=8000)
    valid = SyntheticDataset(split="valid", nb_samples=5, seq_duration=0.1, sample_rate=8000)
    seen = [pair.mixture for pair in valid]
    for epoch in range(4):
        train.set_epoch(epoch)
        seen += [pair.mixture for pair in train]
    assert len({tuple(mixture.flatten().tolist()) for mixture in seen}) == 25


def test_sources_are_augmented():
    options = {"nb_samples": 1, "seq_duration": 0.1, "sample_rate": 8000}
    plain = SyntheticDataset(**options).sources(0)
    gains = SyntheticDataset(source_augmentations=aug_from_str(["gain"]), **options).sources(0)
    ratios = {name: float(gains[name].norm() / plain[name].norm()) for name in SOURCES}
    assert len({round(ratio, 4) for ratio in ratios.values()}) == 4
    assert all(0.25 <= ratio <= 1.25 for ratio in ratios.values())


def test_unknown_target_is_an_error():
    with pytest.raises(ValueError, match=r"no target 'piano' in synthetic songs; .*'other'"):
        SyntheticDataset("piano")
