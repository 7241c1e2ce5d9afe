"""Datasets from a command line, and the command that looks at them."""

from __future__ import annotations

import argparse
import runpy
import sys
from inspect import signature
from pathlib import Path
from unittest.mock import Mock

import pytest
from helpers.sounds import noise

from openunmix import data
from openunmix.audio import probe
from openunmix.data import factory, load_datasets
from openunmix.data.__main__ import main
from openunmix.data.factory import add_dataset_options, make_datasets

RATE = 44100
NAMES = ["vocals.wav", "bass.wav", "mixture.wav"]


@pytest.fixture
def root(track_folder):
    """Make a folder that is a dataset of every kind: tracks a and b of three stems."""
    for split in ("train", "valid"):
        for k, track in enumerate("ab"):
            stems = {name: noise(RATE, seed=3 * k + n) for n, name in enumerate(NAMES)}
            root = track_folder(f"{split}/{track}", stems, sample_rate=RATE).parents[1]
    return root


def parser():
    """Return a parser with what datasets rely on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="musdb")
    parser.add_argument("--root")
    parser.add_argument("--target", default="vocals")
    parser.add_argument("--seq-dur", type=float, default=0.5)
    return parser


def load(*argv):
    """Load datasets as the training script of 1.3.0 does, but from these arguments."""
    argv = [str(argument) for argument in argv]
    command = parser()
    args, _ = command.parse_known_args(argv)
    return load_datasets(command, args, argv)


def test_aligned(root):
    train, valid, args = load("--dataset", "aligned", "--root", root, "--input-file", "mix*.wav")
    assert isinstance(train, data.AlignedDataset)
    assert args.target == "vocals"
    assert (train.split, train.random_chunks, train[0].mixture.shape) == ("train", True, (2, 22050))
    assert (valid.split, valid.random_chunks, valid[0].mixture.shape) == (
        "valid",
        False,
        (2, 22050),
    )


def test_source_folder(root):
    train, valid, args = load(
        "--dataset", "sourcefolder", "--root", root, "--target-dir", "a", "--interferer-dirs", "b",
        "--nb-train-samples", 7, "--source-augmentations", "gain",
    )  # fmt: skip
    assert isinstance(train, data.SourceFolderDataset)
    assert args.target == "a"
    assert (len(train), len(valid)) == (7, 100)
    assert train.random_chunks
    assert valid.random_chunks
    assert (repr(train.source_augmentations), valid.source_augmentations) == ("Compose(gain)", None)
    assert list(valid.sources(0)) == ["b", "a"]


def test_track_folders_of_fixed_sources(root):
    train, valid, args = load(
        "--dataset", "trackfolder_fix", "--root", root, "--target-file", "bass.wav",
        "--interferer-files", "vocals.wav", "--random-track-mix",
    )  # fmt: skip
    assert isinstance(train, data.FixedSourcesTrackFolderDataset)
    assert args.target == "bass"
    assert (train.random_track_mix, valid.random_track_mix) == (True, False)
    assert (train.random_chunks, valid.random_chunks) == (True, False)
    assert train[0].mixture.shape == (2, 22050)
    assert valid[0].mixture.shape == (2, RATE)


def test_track_folders_of_variable_sources(root):
    # Without augmentations this failed in 1.3.0.
    train, valid, args = load(
        "--dataset", "trackfolder_var", "--root", root, "--target-file", "bass.wav",
        "--random-interferer-mix", "--silence-missing", "--ext", "s.wav",
    )  # fmt: skip
    assert isinstance(train, data.VariableSourcesTrackFolderDataset)
    assert args.target == "bass"
    assert (train.random_interferer_mix, valid.random_interferer_mix) == (True, False)
    assert (train.silence_missing_targets, valid.silence_missing_targets) == (True, True)
    assert train[0].mixture.shape == (2, 22050)
    assert valid[0].mixture.shape == (2, RATE)


def test_synthetic_songs():
    train, valid, args = load("--dataset", "synthetic", "--target", "drums")
    assert (train.target, valid.target, args.target) == ("drums",) * 3
    assert (len(train), len(valid), valid.split) == (1000, 100, "valid")
    assert train[0].mixture.shape == (2, 22050)


def test_musdb_without_a_root_downloads_and_always_mixes_tracks(monkeypatch):
    made = []
    recorder = Mock(side_effect=lambda **options: made.append(options))
    recorder.__signature__ = signature(data.MUSDBDataset)
    musdb = factory._KINDS["musdb"]._replace(dataset=recorder)
    monkeypatch.setitem(factory._KINDS, "musdb", musdb)
    load("--dataset", "musdb", "--is-wav", "--samples-per-track", 3)
    load("--root", "here", "--target", "bass")
    train, valid = made[:2]
    assert repr(train.pop("source_augmentations")) == "Compose(gain, channelswap)"
    common = {"target": "vocals", "root": None, "download": True, "is_wav": True, "seed": 42}
    assert train == {
        **common, "split": "train", "seq_duration": 0.5, "samples_per_track": 3,
        "random_track_mix": True,
    }  # fmt: skip
    assert valid == {**common, "split": "valid", "seq_duration": None, "samples_per_track": 1}
    assert [made[2][name] for name in ("root", "download", "target")] == ["here", False, "bass"]


def test_command_line_is_that_of_the_process(monkeypatch):
    argv = ["train.py", "--dataset", "synthetic", "--nb-train-samples", "5"]
    monkeypatch.setattr(sys, "argv", argv)
    command = parser()
    args, _ = command.parse_known_args()
    train, _, args = load_datasets(command, args)
    assert len(train) == args.nb_train_samples == 5


def test_seed_and_rate_are_passed_on(root):
    options = {"dataset": "aligned", "root": root, "target": None, "seq_dur": 0.5, "seed": 7}
    command = argparse.ArgumentParser()
    add_dataset_options(command, "aligned")
    given = argparse.Namespace(**vars(command.parse_args([])), **options, sample_rate=22050)
    train, valid, args = make_datasets(given)
    assert (train.seed, valid.seed) == (7, 7)
    assert train[0].mixture.shape == (2, 11025)
    assert args.target == "vocals"
    assert given.target is None


def test_what_is_missing_or_unknown_is_named(capsys):
    with pytest.raises(ValueError, match="--root is missing: the folder of the dataset 'aligned'"):
        load("--dataset", "aligned")
    with pytest.raises(ValueError, match="unknown augmentations"):
        load("--dataset", "synthetic", "--source-augmentations", "pitch")
    with pytest.raises(ValueError, match="unknown dataset 'dsd'; choose from"):
        make_datasets(argparse.Namespace(dataset="dsd"))
    for argv, message in [
        (["--dataset", "dsd"], "unknown dataset 'dsd'; choose from ['musdb', 'aligned'"),
        (["--dataset", "sourcefolder"], "required: --target-dir, --interferer-dirs"),
    ]:
        with pytest.raises(SystemExit):
            load(*argv)
        assert message in capsys.readouterr().err


def inspect(*argv):
    """Run the inspector; return its exit code."""
    try:
        return main([str(argument) for argument in argv])
    except SystemExit as end:
        return end.code


def test_inspector_tells_what_training_would_get(root, capsys):
    options = ["--dataset", "aligned", "--root", root, "--seq-dur", "0.5"]
    assert inspect(*options, "--save", root / "saved") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Dataset AlignedDataset"
    assert "Number of train samples: 2" in lines
    assert "Number of validation samples: 2" in lines
    assert "Level of mixtures: -20.0 dB, of targets: -20.0 dB" in lines
    assert lines[-1] == "Shape of a batch: (2, 2, 22050)"
    saved = sorted(path.name for path in Path(root, "saved").iterdir())
    assert saved == ["0x.wav", "0y.wav", "1x.wav", "1y.wav"]
    assert probe(root / "saved" / "0x.wav").samples == 22050


def test_inspector_fails_with_one_line(root, capsys):
    assert inspect("--dataset", "aligned", "--root", root, "--input-file", "piano.wav") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "none of 2 tracks can be used" in line
    assert inspect("--dataset", "aligned") == 2
    assert "--root is missing" in capsys.readouterr().err


def test_inspector_is_a_module_with_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["data", "--dataset", "sourcefolder", "--help"])
    monkeypatch.delitem(sys.modules, "openunmix.data.__main__")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("openunmix.data", run_name="__main__")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "--nb-train-samples" in shown
    assert "--batch-size" in shown
