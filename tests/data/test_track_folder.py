"""Track folders of stems, mixed when they are read."""

from __future__ import annotations

import pytest
import torch
from helpers.sounds import noise

from openunmix.data import FixedSourcesTrackFolderDataset as Fixed
from openunmix.data import VariableSourcesTrackFolderDataset as Variable
from openunmix.errors import AudioFileError

RATE = 8000
NAMES = ["vocals.wav", "bass.wav", "drums.wav"]


def constant(value, samples=2 * RATE):
    return torch.full((2, samples), float(value))


@pytest.fixture
def root(track_folder):
    """Make three tracks of constant stems: hundredths of the track, times 1, 4 or 16."""
    for track in range(1, 4):
        stems = {
            name: constant(0.01 * track * scale)
            for name, scale in zip(NAMES, (1, 4, 16), strict=True)
        }
        folder = track_folder(f"train/{track}", stems)
    return folder.parents[1]


def parts(dataset, index):
    """Return of which track each source of an item is."""
    scales = {"vocals": 1, "bass": 4, "drums": 16}
    return {
        name.removesuffix(".wav"): round(
            100 * float(source[0, 0]) / scales[name.removesuffix(".wav")]
        )
        for name, source in dataset.sources(index).items()
    }


@pytest.mark.parametrize("kind", [Fixed, Variable])
def test_item_is_the_sum_of_the_stems_of_a_track(root, kind):
    dataset = kind(root, sample_rate=RATE)
    assert len(dataset) == 3
    for index, (mixture, target) in enumerate(dataset):
        assert parts(dataset, index) == dict.fromkeys(["vocals", "bass", "drums"], index + 1)
        torch.testing.assert_close(target, constant(0.01 * (index + 1)), atol=4e-5, rtol=0)
        torch.testing.assert_close(mixture, constant(0.21 * (index + 1)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [Fixed, Variable])
def test_stems_of_a_track_are_read_at_one_time(track_folder, kind):
    sound = noise(2 * RATE)
    folder = track_folder("train/a", {"vocals.wav": sound, "bass.wav": -sound, "drums.wav": sound})
    dataset = kind(folder.parents[1], seq_duration=0.5, random_chunks=True, sample_rate=RATE)
    starts = set()
    for epoch in range(4):
        dataset.set_epoch(epoch)
        mixture, target = dataset[0]
        assert target.shape == (2, RATE // 2)
        torch.testing.assert_close(mixture, target, atol=1e-4, rtol=0)
        starts.add(float(target[0, 0]))
    assert len(starts) == 4


def test_random_track_mix_takes_each_interferer_from_anywhere(root):
    dataset = Fixed(root, random_track_mix=True, sample_rate=RATE)
    seen = set()
    for epoch in range(20):
        dataset.set_epoch(epoch)
        for index in range(3):
            found = parts(dataset, index)
            assert found["vocals"] == index + 1
            seen.add((found["bass"], found["drums"]))
    assert len(seen) == 9


def test_random_interferer_mix_takes_all_from_one_track(root):
    dataset = Variable(root, random_interferer_mix=True, sample_rate=RATE)
    seen = set()
    for epoch in range(10):
        dataset.set_epoch(epoch)
        for index in range(3):
            found = parts(dataset, index)
            assert found["vocals"] == index + 1
            assert found["bass"] == found["drums"]
            seen.add(found["bass"])
    assert seen == {1, 2, 3}


def test_other_file_names_and_formats(track_folder):
    root = track_folder("valid/a", {"1.flac": noise(RATE), "2.ogg": noise(RATE)}).parents[1]
    dataset = Fixed(root, "valid", "1.flac", ["2.ogg"], sample_rate=RATE)
    assert list(dataset.sources(0)) == ["1", "2"]
    torch.testing.assert_close(dataset[0].target, noise(RATE), atol=4e-5, rtol=0)
    dataset = Variable(root, "valid", "1.flac", ".ogg", sample_rate=RATE)
    assert list(dataset.sources(0)) == ["2.ogg", "1"]
    torch.testing.assert_close(dataset[0].target, noise(RATE), atol=4e-5, rtol=0)


@pytest.mark.parametrize("kind", [Fixed, Variable])
def test_tracks_without_the_target_or_too_short_are_skipped(root, track_folder, caplog, kind):
    track_folder("train/4", {"bass.wav": noise(2 * RATE), "drums.wav": noise(2 * RATE)})
    track_folder("train/5", dict.fromkeys(NAMES, noise(100)))
    dataset = kind(root, seq_duration=1.0, sample_rate=RATE)
    assert len(dataset) == 3
    reasons = [message.split("train/")[1] for message in caplog.messages]
    assert reasons == [
        "4: there is no vocals.wav; there is bass.wav, drums.wav",
        "5: it lasts 0.013 s, an excerpt 1.000 s",
    ]


def test_every_interferer_must_be_there(root):
    with pytest.raises(AudioFileError, match=r"none of 3.*/1: there is no piano\.wav"):
        Fixed(root, interferer_files=["piano.wav"])


def test_source_must_not_be_named_twice(root):
    with pytest.raises(ValueError, match="have a name in common"):
        Fixed(root, interferer_files=["bass.wav", "vocals.flac"])


def test_missing_target_can_be_silent(root, track_folder):
    track_folder("train/4", {"bass.wav": constant(0.1), "drums.wav": constant(0.2)})
    dataset = Variable(root, silence_missing_targets=True, sample_rate=RATE)
    mixture, target = dataset[3]
    assert not target.any()
    torch.testing.assert_close(mixture, constant(0.3), atol=1e-4, rtol=0)


def test_target_alone_is_a_mixture(track_folder):
    # 1.3.0 had a number for a mixture then, or an undefined name where the target was missing.
    track_folder("train/a", {"vocals.wav": constant(0.1)})
    root = track_folder("train/b", {"bass.wav": constant(0.2)}).parents[1]
    options = {"silence_missing_targets": True, "sample_rate": RATE}
    assert torch.equal(*Variable(root, **options)[0])
    dataset = Variable(root, random_interferer_mix=True, **options)
    found = set()
    for epoch in range(8):
        dataset.set_epoch(epoch)
        found |= {tuple(round(float(w[0, 0]), 1) for w in pair) for pair in dataset}
    assert found == {(0.1, 0.1), (0.3, 0.1), (0.2, 0.0), (0.0, 0.0)}


def test_empty_track_is_skipped(root, track_folder, caplog):
    track_folder("train/4", {"notes.flac": noise(100)})
    assert len(Variable(root, silence_missing_targets=True, sample_rate=RATE)) == 3
    assert "4: there is no audio file; there is notes.flac" in caplog.text
    assert "4: notes.flac passed over, as the extension given is .wav" in caplog.text


def test_mixture_among_the_stems_is_none_of_them(root, track_folder):
    track_folder("train/1", {"mixture.wav": noise(2 * RATE)})
    dataset = Variable(root, sample_rate=RATE)
    assert set(dataset.sources(0)) == {"vocals", "bass.wav", "drums.wav"}


def test_augmentations_are_optional(root):
    # 1.3.0 could not make a dataset of variable sources without.
    dataset = Variable(root, sample_rate=RATE, source_augmentations=None)
    assert dataset[0].mixture.shape == (2, 2 * RATE)


def test_stems_of_different_lengths_are_cut_to_the_shortest(track_folder):
    stems = {"vocals.wav": noise(300), "bass.wav": noise(200), "drums.wav": noise(250)}
    root = track_folder("train/a", stems).parents[1]
    for kind in (Fixed, Variable):
        assert kind(root, sample_rate=RATE)[0].mixture.shape == (2, 200)
