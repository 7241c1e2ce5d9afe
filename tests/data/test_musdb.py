"""MUSDB18: folders of wav files and ``.stem.mp4``, found by a stand-in for the package musdb."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.musdb_database import DB, SOURCES, STREAMS
from helpers.sounds import noise, tone

from openunmix.audio import write_stem_mp4
from openunmix.data import MUSDBDataset, aug_from_str
from openunmix.errors import AudioFileError, DownloadError, MissingExtraError

RATE = 44100


@pytest.fixture(autouse=True)
def _musdb(monkeypatch):
    """Put the stand-in in place of the package, which needs a program that may not be there."""
    module = ModuleType("musdb")
    module.DB = DB
    monkeypatch.setitem(sys.modules, "musdb", module)
    monkeypatch.delenv("MUSDB_PATH", raising=False)


@pytest.fixture
def root(track_folder):
    """Make folders of wav files: constant stems, and a mixture that they do not sum to."""
    for track, name in enumerate(["A", "B", "V"], start=1):
        stems = {
            f"{source}.wav": torch.full((2, RATE), 0.01 * track * scale)
            for source, scale in zip(SOURCES, (1, 2, 4, 8), strict=True)
        }
        stems["mixture.wav"] = torch.full((2, RATE), 0.5)
        folder = track_folder(f"train/{name}", stems, sample_rate=RATE)
    return folder.parents[1]


def hundredths(waveform):
    return round(100 * float(waveform[0, 0]))


def test_training_items_are_mixed_anew(root):
    dataset = MUSDBDataset(root=root, is_wav=True, seq_duration=0.5, samples_per_track=2)
    assert len(dataset) == 4
    assert [(hundredths(x), hundredths(y)) for x, y in dataset] == [(15, 1)] * 2 + [(30, 2)] * 2
    assert dataset[0].mixture.shape == (2, RATE // 2)
    assert dataset.sample_rate == 44100.0


def test_random_track_mix_takes_each_source_from_anywhere(root):
    dataset = MUSDBDataset(
        root=root, is_wav=True, seq_duration=0.5, samples_per_track=40, random_track_mix=True
    )
    assert {hundredths(x) for x, _ in dataset} == set(range(15, 31))


def test_validation_items_are_whole_tracks_with_their_own_mixture(root):
    dataset = MUSDBDataset(
        root=root, is_wav=True, split="valid", seq_duration=None, samples_per_track=1,
        source_augmentations=aug_from_str(["gain"]),
    )  # fmt: skip
    ((mixture, target),) = dataset
    assert mixture.shape == target.shape == (2, RATE)
    assert (hundredths(mixture), hundredths(target)) == (50, 3)


def test_target_may_be_a_sum(root):
    # 1.3.0 took the mixture without vocals for any target that is not a stem.
    options = {"root": root, "is_wav": True, "seq_duration": 0.5, "samples_per_track": 1}
    assert hundredths(MUSDBDataset("accompaniment", **options)[0].target) == 14
    assert hundredths(MUSDBDataset("bass", split="valid", **options)[0].target) == 12
    with pytest.raises(ValueError, match=r"no target 'piano'; choose from \['vocals'"):
        MUSDBDataset("piano", **options)


def test_excerpts_of_a_track_are_of_one_time(track_folder):
    sound = noise(2 * RATE)
    stems = dict.fromkeys(["vocals.wav", "mixture.wav", "other.wav"], sound)
    stems |= dict.fromkeys(["drums.wav", "bass.wav"], -sound)
    root = track_folder("train/A", stems, sample_rate=RATE).parents[1]
    dataset = MUSDBDataset(root=root, is_wav=True, seq_duration=0.5, samples_per_track=8)
    pairs = list(dataset)
    assert all(float(mixture.abs().max()) < 2e-4 for mixture, _ in pairs)
    assert len({float(target[0, 0]) for _, target in pairs}) == 8


def test_stems_are_streams_of_one_file(tmp_path, track_folder):
    tones = {name: tone(RATE, 300.0 * (k + 1), RATE, 0.1) for name, k in STREAMS.items()}
    folder = track_folder("x", {f"{k}.wav": v for k, v in tones.items()}, sample_rate=RATE)
    (tmp_path / "train").mkdir()
    names = sorted(STREAMS, key=STREAMS.get)[1:]
    stems = {name: folder / f"{name}.wav" for name in names}
    write_stem_mp4(tmp_path / "train/A.stem.mp4", folder / "mixture.wav", stems)
    dataset = MUSDBDataset(root=tmp_path, seq_duration=0.5, samples_per_track=1)
    sources = dataset.sources(0)
    assert list(sources) == SOURCES
    for name, source in sources.items():
        spectrum = torch.fft.rfft(source[0, : RATE // 2])
        assert round(2 * int(spectrum.abs().argmax())) == 300 * (STREAMS[name] + 1)
    whole = MUSDBDataset(root=tmp_path, seq_duration=None, samples_per_track=1)[0]
    assert whole.mixture.shape == (2, RATE)
    assert round(int(torch.fft.rfft(whole.mixture[0]).abs().argmax())) == 300


def test_options_reach_the_package(root):
    dataset = MUSDBDataset(
        root=root, is_wav=True, subsets="train", split=None, sample_rate=22050, setup_file="x"
    )
    assert dataset.mus.options == {"download": False, "sample_rate": 22050, "setup_file": "x"}
    assert len(dataset.tracks) == 3
    assert dataset[0].mixture.shape == (2, 22050)


def test_incomplete_and_short_tracks_are_skipped(root, track_folder, caplog):
    track_folder("train/C", {"vocals.wav": noise(RATE), "mixture.wav": noise(RATE)})
    files = [f"{name}.wav" for name in STREAMS]
    track_folder("train/D", dict.fromkeys(files, noise(RATE // 2)), sample_rate=RATE)
    dataset = MUSDBDataset(root=root, is_wav=True, seq_duration=1.0)
    assert len(dataset.tracks) == 2
    assert "mixture.wav: there is no drums, no bass, no other" in caplog.text
    assert "lasts 0.500 s, an excerpt 1.000 s" in caplog.text


def test_previews_are_downloaded_without_a_root(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    root.rename("previews")
    dataset = MUSDBDataset(download=True, is_wav=True, seq_duration=0.5)
    assert dataset.mus.options["download"] is True
    assert dataset.root == Path("previews")
    assert "Root: previews" in repr(dataset)


def test_what_cannot_work_is_an_error(root, tmp_path):
    with pytest.raises(ValueError, match="no root given; give the folder of MUSDB18"):
        MUSDBDataset()
    with pytest.raises(ValueError, match="subsets='test' is not split; give split=None"):
        MUSDBDataset(root=root, is_wav=True, subsets="test")
    with pytest.raises(ValueError, match="samples_per_track is 0"):
        MUSDBDataset(root=root, is_wav=True, samples_per_track=0)
    with pytest.raises(AudioFileError, match="none of 2 tracks can be used"):
        MUSDBDataset(root=root, is_wav=True, seq_duration=60.0)


def test_failed_download_is_told(monkeypatch):
    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(sys.modules["musdb"], "DB", fail)
    with pytest.raises(DownloadError, match=r"MUSDB18 could not be fetched: no network"):
        MUSDBDataset(download=True)
    with pytest.raises(OSError, match=r"^no network"):
        MUSDBDataset(root="here")


def test_dataset_can_be_pickled_and_printed(root):
    dataset = MUSDBDataset(root=root, is_wav=True, seq_duration=0.5, samples_per_track=3)
    dataset.mus = None  # of a class that only this module has
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[4].mixture, dataset[4].mixture)
    assert "Target: vocals\n    Samples per track: 3\n    Root: " in repr(again)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("no"), r"needs the package musdb; install openunmix\[musdb\], or use"),
        (RuntimeError("ffmpeg could not be found"), "cannot work .*found.; install the program"),
    ],
)
def test_missing_package_is_named(root, monkeypatch, error, message):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingExtraError, match=message):
        MUSDBDataset(root=root)
