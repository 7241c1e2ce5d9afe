"""Folders of sounds, one for each source."""

from __future__ import annotations

import pytest
import torch
from helpers.sounds import noise

from openunmix.data import SourceFolderDataset, aug_from_str
from openunmix.errors import AudioFileError

RATE = 8000


@pytest.fixture
def root(track_folder):
    """Make folders of sounds of constant value: 1 to 3 hundredths, times 1, 4 or 16."""
    for split in ("train", "valid"):
        for scale, name in ((1, "vocals"), (4, "bass"), (16, "drums")):
            sounds = {f"{k}.wav": torch.full((2, 2 * RATE), 0.01 * scale * k) for k in range(1, 4)}
            folder = track_folder(f"{split}/{name}", sounds)
    return folder.parents[1]


def drawn(dataset):
    """Return the sounds of every item: vocals, bass, drums."""
    found = []
    for index in range(len(dataset)):
        sources = dataset.sources(index)
        hundredths = [100 * float(sources[name][0, 0]) for name in ("vocals", "bass", "drums")]
        found.append(tuple(round(h / s) for h, s in zip(hundredths, (1, 4, 16), strict=True)))
    return found


def test_items_mix_a_random_sound_of_each_source(root):
    dataset = SourceFolderDataset(root, nb_samples=100, seq_duration=1.0, sample_rate=RATE)
    assert len(dataset) == 100
    assert {source: {k[i] for k in drawn(dataset)} for i, source in enumerate("vbd")} == {
        source: {1, 2, 3} for source in "vbd"
    }
    assert list(dataset.sources(0)) == ["bass", "drums", "vocals"]
    for mixture, target in list(dataset)[:5]:
        assert mixture.shape == target.shape == (2, RATE)
        assert float(target[0, 0]) < 0.035
        assert float(mixture[0, 0]) > 0.2


def test_sounds_of_validation_are_independent_of_one_another(root):
    # 1.3.0 drew with the same seed for every source: always sounds of the same number.
    dataset = SourceFolderDataset(root, "valid", nb_samples=100, seq_duration=1.0, sample_rate=RATE)
    before = drawn(dataset)
    assert len(set(before)) > 20
    dataset.set_epoch(1)
    assert drawn(dataset) == before


def test_folders_and_extension_can_be_chosen(root, track_folder):
    track_folder("train/speech", {"a.flac": noise(RATE), "b.wav": noise(RATE)})
    track_folder("train/noise", {"x.flac": noise(RATE, seed=1)})
    dataset = SourceFolderDataset(
        root, "train", "speech", ["noise"], ".flac", nb_samples=3, sample_rate=RATE
    )
    assert len(dataset.source_tracks["speech"]) == 1
    for mixture, target in dataset:
        torch.testing.assert_close(target, noise(RATE), atol=4e-5, rtol=0)
        torch.testing.assert_close(mixture - target, noise(RATE, seed=1), atol=8e-5, rtol=0)


def test_excerpts_are_in_the_middle_unless_random(track_folder):
    ramp = torch.linspace(0, 0.9, 3 * RATE).expand(2, -1)
    root = track_folder("train/vocals", {"a.wav": ramp}).parents[1]
    options = {"nb_samples": 20, "seq_duration": 1.0, "sample_rate": RATE}
    centred = SourceFolderDataset(root, "train", "vocals", [], random_chunks=False, **options)
    torch.testing.assert_close(centred[0].target, ramp[:, RATE : 2 * RATE], atol=4e-5, rtol=0)
    anywhere = SourceFolderDataset(root, "train", "vocals", [], **options)
    starts = [float(target[0, 0]) for _, target in anywhere]
    assert min(starts) < 0.15
    assert max(starts) > 0.45


def test_whole_files_are_cut_to_the_shortest(track_folder):
    track_folder("train/vocals", {"a.wav": noise(300)})
    root = track_folder("train/bass", {"b.wav": noise(200)}).parents[1]
    dataset = SourceFolderDataset(root, interferer_dirs=["bass"], sample_rate=RATE)
    assert dataset[0].mixture.shape == (2, 200)


def test_sources_are_augmented_one_by_one(root):
    plain = SourceFolderDataset(root, nb_samples=1, seq_duration=1.0, sample_rate=RATE)
    gains = SourceFolderDataset(
        root,
        nb_samples=1,
        seq_duration=1.0,
        sample_rate=RATE,
        source_augmentations=aug_from_str(["gain"]),
    )
    before, after = plain.sources(0), gains.sources(0)
    assert len({round(float(after[k][0, 0] / before[k][0, 0]), 3) for k in before}) == 3


def test_short_files_are_skipped(root, track_folder, caplog):
    track_folder("train/vocals", {"short.wav": noise(100)})
    dataset = SourceFolderDataset(root, seq_duration=1.0, sample_rate=RATE)
    assert len(dataset.source_tracks["vocals"]) == 3
    assert "short.wav: it lasts 0.013 s, an excerpt 1.000 s" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target_dir": "piano"}, AudioFileError, "piano: no such folder; check the names"),
        ({"ext": ".flac"}, AudioFileError, r"bass: none of 0 tracks can be used \(it is empty\)"),
        ({"seq_duration": 9.0}, AudioFileError, r"bass: none of 3 tracks.* it lasts 2.000 s"),
        ({"target_dir": "bass"}, ValueError, "a folder is given twice"),
    ],
)
def test_what_cannot_work_is_an_error(root, options, error, message):
    with pytest.raises(error, match=message):
        SourceFolderDataset(root, sample_rate=RATE, **options)
