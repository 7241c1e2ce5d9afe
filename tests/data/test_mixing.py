"""Mixtures: decided by seed and step alone, at the levels and from the times asked for."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.sounds import rms
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.data.augment.effects import EFFECTS, Effects
from openunmix.data.mixing import Mixer, MixingConfig
from openunmix.data.stems import Stem, StemFolder, StemLibrary

TARGETS = ["vocals", "drums", "bass"]
RATE = 1000
SECONDS = 8

#: Nothing random: every source at -20 dB, from one time of one track.
PLAIN = MixingConfig(
    coherent=1.0,
    silent=0.0,
    level=-20.0,
    balance={},
    spread=0.0,
    loudness_spread=0.0,
    transpose=0.0,
)


def mixer(stems, mixing, count, seed=1, channels=2):
    """Make a mixer of batches of some mixtures of half a second."""
    targets = stems.targets
    return Mixer(stems, mixing, targets, RATE // 2, count, RATE, seed, channels)


def mixtures(stems, mixing, count, seed=1):
    """Make mixtures as their sources (count, targets, 2, samples)."""
    return mixer(stems, mixing, count, seed).batch(0).sources


def ramp(track, target, channels=2, samples=SECONDS * RATE):
    """Make a stem whose samples tell their time: a ramp from 1/4 to 1/2 of full scale."""
    time = torch.linspace(8192, 16383, samples).round().to(torch.int16)
    sides = torch.tensor([[1], [-1]], dtype=torch.int16)[:channels]
    return Stem(track, target, sides * time, level=1.0)


def library(tracks=2, **settings_):
    """Make a library of ramps."""
    stems = [ramp(f"track{i}", target, **settings_) for i in range(tracks) for target in TARGETS]
    return StemLibrary(stems, TARGETS)


def times(sources):
    """Read the time in samples at which each source (2, samples) of ramps begins."""
    first, last = sources[:, :, 0].abs().amax(-1), sources[:, :, -1].abs().amax(-1)
    slope = (last - first) / (sources.shape[-1] - 1)
    return first / slope - SECONDS * RATE  # the ramp was at zero its own length before its start


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(0, 999))
def test_batch_follows_from_seed_and_step(seed, step):
    one, again = (mixer(library(), MixingConfig(), 3, seed) for _ in range(2))
    torch.manual_seed(step)  # has no influence
    again.batch(step + 1)
    first = one.batch(step).mixture
    assert torch.equal(first, again.batch(step).mixture)
    assert not torch.equal(first, one.batch(step + 1).mixture)
    assert not torch.equal(first, mixer(library(), MixingConfig(), 3, seed + 1).batch(step).mixture)


def test_processes_share_a_batch():
    mixing = replace(
        MixingConfig(), effects={"vocals": Effects(layer=0.5, overdrive=1.0, reverb=1.0)}
    )
    whole = mixer(library(), mixing, 6).batch(5)
    for rank in range(3):
        share = mixer(library(), mixing, 6).batch(5, rank, 3)
        assert share.items == whole.items[rank::3]
        torch.testing.assert_close(share.sources, whole.sources[rank::3])


def test_random_numbers_of_the_caller_are_left_alone():
    state = torch.get_rng_state()
    mixtures(library(), replace(PLAIN, effects={"bass": Effects(reverb=1.0)}), 3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("channels", [1, 2])
def test_mixture_is_the_sum_of_all_sources(channels):
    stems = library()
    batch = Mixer(stems, MixingConfig(), ["bass"], 500, 4, RATE, 1, channels).batch(7)
    every = Mixer(stems, MixingConfig(), TARGETS, 500, 4, RATE, 1, channels).batch(7)
    assert batch.mixture.shape == (4, channels, 500)
    assert batch.sources.shape == (4, 1, channels, 500)
    assert batch.mixture.dtype == torch.float32
    assert batch.items == [28, 29, 30, 31]
    torch.testing.assert_close(batch.mixture, every.sources.sum(dim=1))
    assert torch.equal(batch.sources[:, 0], every.sources[:, 2])


def test_same_mixtures_on_any_device_that_the_stems_are_moved_to():
    one = mixer(library(), MixingConfig(), 4)
    assert torch.equal(one.to("cpu").batch(3).mixture, one.batch(3).mixture)


def test_settings_survive_json():
    mixing = MixingConfig(
        also=(StemFolder("a", weight=0.5),),
        extra=(StemFolder("b", "drums", share=0.25),),
        exclude={"live": ("drums", "bass")},
        accompaniment=StemFolder("c", share=0.4),
        transpose_source={"vocals": 4.0},
        effects={"vocals": EFFECTS["voice"]},
    )
    assert MixingConfig.from_json(json.loads(json.dumps(mixing.to_json()))) == mixing
    assert MixingConfig.from_json(MixingConfig().to_json()) == MixingConfig()
    with pytest.raises(ValueError, match=r"unknown mixing settings \['colour'\]"):
        MixingConfig.from_json({"colour": 1})


def test_coherent_mixtures_take_all_stems_from_one_time():
    dataset = mixtures(library(), PLAIN, 30)
    starts = torch.stack([times(sources) for sources in dataset])
    torch.testing.assert_close(starts, starts[:, :1].expand(-1, 3), atol=20, rtol=0)
    assert starts[:, 0].std() > RATE  # the time itself is random


def test_other_mixtures_take_each_stem_from_anywhere():
    dataset = mixtures(library(), replace(PLAIN, coherent=0.0), 30)
    starts = torch.stack([times(sources) for sources in dataset])
    assert ((starts[:, 0] - starts[:, 1]).abs() > 100).float().mean() > 0.8


def test_coherent_mixtures_take_all_stems_from_one_track():
    stems = [
        Stem(f"track{i}", target, torch.full((2, 4000), 1000 * (i + 1), dtype=torch.int16), 1.0)
        for i in range(4)
        for target in TARGETS
    ]
    for coherent in (1.0, 0.0):
        mixing = replace(PLAIN, coherent=coherent)
        dataset = mixtures(StemLibrary(stems, TARGETS), mixing, 20)
        # Equal values would be taken for mono and panned, so compare the power of both sides.
        values = [[round(rms(source), 4) for source in sources] for sources in dataset]
        assert all(len(set(track)) == 1 for track in values) == (coherent == 1.0)
        assert len({track[0] for track in values}) == 4


def test_share_of_coherent_mixtures_is_as_asked():
    dataset = mixtures(library(), replace(PLAIN, coherent=0.4), 300)
    starts = torch.stack([times(sources) for sources in dataset])
    coherent = ((starts[:, 0] - starts[:, 1]).abs() < 20) & (
        (starts[:, 0] - starts[:, 2]).abs() < 20
    )
    assert 0.3 < coherent.float().mean() < 0.5


def test_tracks_that_lack_a_stem_are_mixed_too():
    stems = [ramp("a", "vocals"), ramp("b", "drums"), ramp("c", "bass")]
    dataset = mixtures(StemLibrary(stems, TARGETS), PLAIN, 5)
    assert all((sources.abs().amax(dim=(1, 2)) > 0).all() for sources in dataset)


def test_a_stem_that_a_track_lacks_comes_from_anywhere():
    stems = [ramp("a", target) for target in TARGETS[1:]] + [ramp("b", TARGETS[0])]
    dataset = mixtures(StemLibrary(stems, TARGETS), PLAIN, 30)
    starts = torch.stack([times(sources) for sources in dataset])
    torch.testing.assert_close(starts[:, 1], starts[:, 2], atol=20, rtol=0)
    assert ((starts[:, 0] - starts[:, 1]).abs() > 100).float().mean() > 0.8


def test_independent_sources_come_from_anywhere():
    made = mixtures(library(), replace(PLAIN, independent=("vocals",)), 30)
    starts = torch.stack([times(sources) for sources in made])
    torch.testing.assert_close(starts[:, 1], starts[:, 2], atol=20, rtol=0)
    assert ((starts[:, 0] - starts[:, 1]).abs() > 100).float().mean() > 0.8


def test_stems_are_drawn_by_weight_and_the_root_of_their_length():
    def shares(**changes):
        stems = [replace(ramp("a", "vocals"), **changes), ramp("b", "vocals", channels=1)]
        dataset = mixtures(StemLibrary(stems, ["vocals"]), PLAIN, 400)
        return sum(bool((mixture[0, 0] == -mixture[0, 1]).all()) for mixture in dataset) / 400

    assert shares() == pytest.approx(0.5, abs=0.08)
    assert shares(weight=0.25) == pytest.approx(0.2, abs=0.08)
    assert shares(weight=0.0) == 0.0


def tone(track, target, frequency):
    """Make a stem of one frequency."""
    wave = 16000 * torch.sin(2 * torch.pi * frequency * torch.arange(SECONDS * RATE) / RATE)
    return Stem(track, target, torch.stack([wave, -wave]).round().to(torch.int16), 1.0, 150.0)


def test_half_of_the_excerpts_are_transposed_and_those_of_one_track_together():
    mixing = replace(PLAIN, transpose=2.0)
    stems = [tone("a", target, 100.0) for target in TARGETS]
    batch = mixer(StemLibrary(stems, TARGETS), mixing, 100).batch(0)
    dataset = batch.sources
    assert dataset.shape == (100, 3, 2, RATE // 2)
    spectra = torch.fft.rfft(dataset[:, :, 0] * torch.hann_window(RATE // 2), n=16 * RATE)
    frequencies = spectra.abs().argmax(dim=-1) / 16
    torch.testing.assert_close(frequencies, frequencies[:, :1].expand(-1, 3), atol=0.1, rtol=0)
    semitones = 12 * torch.log2(frequencies[:, 0] / 100)
    assert (semitones.abs() < 0.02).float().mean() == pytest.approx(0.5, abs=0.12)
    assert 1.5 < semitones.max() < 2.05
    assert -2.05 < semitones.min() < -1.5
    torch.testing.assert_close(batch.bandwidth / 150, frequencies / 100, rtol=0.01, atol=0)


def test_sources_are_silent_as_often_as_asked():
    for probability in (0.0, 0.3, 1.0):
        dataset = mixtures(library(), replace(PLAIN, silent=probability), 200)
        silent = torch.stack([(sources == 0).all(dim=-1).all(dim=-1) for sources in dataset])
        assert float(silent.float().mean()) == pytest.approx(probability, abs=0.06)


def flat(level, value=8000):
    """Make a library of constant stems whose level is on record."""
    waveform = torch.tensor([[value], [-value]], dtype=torch.int16).expand(2, 4000)
    return StemLibrary([Stem("a", target, waveform, level) for target in TARGETS], TARGETS)


def test_level_does_not_depend_on_that_of_the_stem():
    for value in (500, 8000, 32000):
        sources = mixtures(flat(value / 32767, value), PLAIN, 1)[0]
        for source in sources:
            assert rms(source) == pytest.approx(10 ** (-20 / 20), rel=1e-4)


def test_balance_is_added_to_the_level_of_a_source():
    mixing = replace(PLAIN, balance={"drums": 6.0, "bass": -3.0})
    vocals, drums, bass = (rms(s) for s in mixtures(flat(8000 / 32767), mixing, 1)[0])
    assert drums / vocals == pytest.approx(10 ** (6 / 20), rel=1e-4)
    assert bass / vocals == pytest.approx(10 ** (-3 / 20), rel=1e-4)


def test_spreads_are_those_of_sources_and_of_the_mixture():
    for spread, loudness_spread in ((4.0, 0.0), (0.0, 5.0)):
        mixing = replace(PLAIN, spread=spread, loudness_spread=loudness_spread)
        dataset = mixtures(flat(8000 / 32767), mixing, 400)
        levels = torch.tensor([[rms(source) for source in sources] for sources in dataset])
        levels = 20 * levels.log10()
        common = levels.mean(dim=1)
        own = (levels - common[:, None]) * (3 / 2) ** 0.5  # the mean takes a part of it away
        assert float(own.square().mean().sqrt()) == pytest.approx(spread, abs=0.4)
        assert float(levels[:, 0].std()) == pytest.approx(max(spread, loudness_spread), abs=0.5)
        assert float(levels.mean()) == pytest.approx(-20, abs=0.8)


def test_original_levels_are_kept_but_for_a_random_gain():
    mixing = replace(PLAIN, levels="original")
    for value in (800, 8000):
        dataset = mixtures(flat(value / 32767, value), mixing, 200)
        gains = torch.tensor([[rms(source) for source in sources] for sources in dataset])
        gains = gains / value * 32767
        assert 0.25 <= gains.min() < 0.3
        assert 1.2 < gains.max() <= 1.2501
        assert float(gains.mean()) == pytest.approx(0.75, abs=0.04)
        assert (gains[:, 0] != gains[:, 1]).all()


def test_files_that_share_no_track_have_no_original_level():
    mixing = replace(PLAIN, levels="original", coherent=0.0)
    for value in (800, 8000):
        waveform = torch.tensor([[value], [-value]], dtype=torch.int16).expand(2, 4000)
        stems = [Stem(target, target, waveform, value / 32767) for target in TARGETS]
        dataset = mixtures(StemLibrary(stems, TARGETS), mixing, 100)
        levels = torch.tensor([[rms(source) for source in sources] for sources in dataset])
        assert 0.025 <= levels.min() < 0.03
        assert 0.12 < levels.max() < 0.126


def test_effects_add_layers_of_the_same_source():
    stems = [ramp("a", target) for target in TARGETS]
    effects = {"vocals": Effects(layer=1.0)}
    plain = mixtures(StemLibrary(stems, TARGETS), PLAIN, 20)
    layered = mixtures(StemLibrary(stems, TARGETS), replace(PLAIN, effects=effects), 20)
    for one, two in zip(plain, layered, strict=True):
        # A ramp is never below a quarter, so two of them are louder than one can be.
        assert 1.3 * 0.25 * 0.1 <= two[0].abs().min() < two[0].abs().max() <= 0.5 * 2 * 0.1 + 1e-3
        assert torch.equal(two[1].abs() > 0, one[1].abs() > 0)
    assert any(two[0].abs().max() > 0.051 for two in layered)


def test_effects_transpose_what_comes_from_anywhere():
    stems = [tone(target, target, 100.0) for target in TARGETS]
    mixing = replace(PLAIN, effects={"vocals": Effects(transpose=12.0)})
    bands = mixer(StemLibrary(stems, TARGETS), mixing, 100).batch(0).bandwidth
    vocals = bands[:, 0] / 150
    assert (bands[:, 1] == 150).all()
    assert (vocals == 1).float().mean() == pytest.approx(0.5, abs=0.12)
    assert 0.5 <= vocals.min() < 0.6
    assert 1.8 < vocals.max() <= 2.0


def test_bandwidth_of_layers_is_the_lowest():
    stems = [replace(ramp(f"{i}", "vocals"), bandwidth=200.0 + 100 * i) for i in range(2)]
    mixing = replace(PLAIN, effects={"vocals": Effects(layer=1.0)})
    bands = mixer(StemLibrary(stems, ["vocals"]), mixing, 100).batch(0).bandwidth
    assert (bands == 200).float().mean() == pytest.approx(0.75, abs=0.1)


def test_effects_change_their_source_alone():
    effects = Effects(overdrive=1.0, double_tracking=1.0, reverb=1.0)
    stems = [ramp("a", target) for target in TARGETS]
    plain = mixtures(StemLibrary(stems, TARGETS), PLAIN, 5)[0]
    mixing = replace(PLAIN, effects={"bass": effects})
    changed = mixtures(StemLibrary(stems, TARGETS), mixing, 5)[0]
    assert torch.equal(changed[:2].abs(), plain[:2].abs())  # their sides are drawn anew
    assert not torch.allclose(changed[2].abs(), plain[2].abs(), rtol=0.01)


def test_sides_are_swapped_half_of_the_time():
    dataset = mixtures(flat(8000 / 32767), PLAIN, 200)
    swapped = torch.stack([sources[:, 0, 0] < 0 for sources in dataset])
    assert 0.4 < swapped.float().mean() < 0.6
    assert 0.3 < (swapped[:, 0] != swapped[:, 1]).float().mean() < 0.7  # each on its own


def test_mono_sources_are_panned_at_constant_power():
    waveform = torch.full((1, 4000), 8000, dtype=torch.int16)
    stems = [Stem("a", target, waveform, 8000 / 32767) for target in TARGETS]
    dataset = mixtures(StemLibrary(stems, TARGETS), PLAIN, 100)
    sources = torch.cat(list(dataset))
    power = sources.square().mean(dim=(1, 2))
    torch.testing.assert_close(power, torch.full_like(power, 0.01), rtol=1e-4, atol=0)
    ratio = sources[:, 0, 0] / sources[:, 1, 0]
    assert ratio.min() < 0.8
    assert ratio.max() > 1.25
    assert ratio.min() > 0.05
    assert ratio.max() < 20


def test_stems_shorter_than_an_excerpt_end_in_silence():
    dataset = mixtures(library(samples=200), PLAIN, 5)
    for sources in dataset:
        assert (sources[..., 200:] == 0).all()
        assert (sources[..., :200].abs() > 0).all()


def test_longer_stems_are_drawn_more_often_but_not_in_proportion():
    short, long = (
        Stem("a", "vocals", torch.full((2, samples), value, dtype=torch.int16), 1.0)
        for samples, value in ((1000, 1000), (16_000, 2000))
    )
    mixing = replace(PLAIN, coherent=0.0)
    dataset = mixtures(StemLibrary([short, long], ["vocals"]), mixing, 500)
    drawn = torch.tensor([rms(sources) for sources in dataset])
    assert float((drawn > drawn.mean()).float().mean()) == pytest.approx(0.8, abs=0.06)


def test_bandwidth_is_that_of_the_stem_drawn():
    stems = [replace(ramp(f"{i}", t), bandwidth=200.0 + i) for i in range(3) for t in TARGETS[:2]]
    stems = StemLibrary([*stems, ramp("0", "bass")], TARGETS)
    batch = mixer(stems, replace(PLAIN, coherent=0.5), 50, 0).batch(0)
    assert batch.bandwidth[:, 2].isinf().all()
    assert set(batch.bandwidth[:, 0].tolist()) == {200.0, 201.0, 202.0}
    # Only track 0 is complete, and a coherent mixture has one start for all.
    for sources, bands in zip(batch.sources, batch.bandwidth, strict=True):
        start = times(sources)
        if start.max() - start.min() < 1:
            assert set(bands[:2].tolist()) == {200.0}


def test_no_bandwidth_is_reported_where_there_is_no_limit():
    assert mixer(library(), PLAIN, 3).batch(0).bandwidth is None


def test_one_source_can_be_transposed_by_another_amount():
    stems = [tone(target, target, 100.0) for target in TARGETS]
    mixing = replace(PLAIN, transpose=1.0, transpose_source={"bass": 6.0})
    bands = mixer(StemLibrary(stems, TARGETS), mixing, 100).batch(0).bandwidth
    semitones = (12 * torch.log2(bands / 150)).abs().amax(dim=0)
    assert 0.8 < semitones[:2].min() <= semitones[:2].max() < 1.05
    assert 5 < semitones[2] < 6.05


def test_long_excerpts_are_resampled_at_lengths_that_are_fast_and_near():
    stems = [replace(tone("a", "vocals", 100.0), waveform=torch.ones(1, 400_000).short())]
    library = StemLibrary(stems, ["vocals"])
    many = Mixer(library, replace(PLAIN, transpose=2.0), ["vocals"], 132_300, 400, 44_100)
    lengths = many._lengths(np.random.default_rng(0), 2.0)
    for length in set(lengths):
        for factor in (2, 3, 5, 7):
            while length % factor == 0:
                length //= factor
        assert length == 1
    semitones = 12 * np.log2(np.array(lengths) / 132_300)
    assert (semitones == 0).mean() == pytest.approx(0.5, abs=0.08)
    assert 1.9 < abs(semitones).max() < 2.1
    assert len(set(lengths)) > 12


def test_accompaniment_takes_the_place_of_its_sources():
    stems = [ramp("track0", target) for target in TARGETS]
    accompaniment = Stem(
        "band", "drums+bass", torch.full((2, 4000), 3277, dtype=torch.int16), level=0.1
    )
    mixing = replace(PLAIN, accompaniment=StemFolder("music", share=0.5))
    dataset = mixtures(StemLibrary(stems, TARGETS, [accompaniment]), mixing, 100)
    plain = mixtures(StemLibrary(stems, TARGETS), mixing, 100)
    accompanied = [item for item in dataset if not item[2].any()]
    assert 30 < len(accompanied) < 70
    for item in accompanied:
        assert item[0].any()
        # As loud as two sources, and mono, so that it is panned.
        assert 20 * math.log10(rms(item[1])) == pytest.approx(-17.0, abs=0.1)
    assert all(item.any(dim=-1).all() for item in plain)


def test_silent_accompaniment_is_left_out():
    silent = Stem("band", "drums+bass", torch.zeros(2, 4000, dtype=torch.int16), level=0.0)
    assert (
        StemLibrary([ramp("a", target) for target in TARGETS], TARGETS, [silent]).accompaniment
        == []
    )
