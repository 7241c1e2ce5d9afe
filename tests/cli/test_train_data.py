"""Datasets of ``umx-train``."""

from __future__ import annotations

import json
import re
from dataclasses import astuple
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.sounds import noise
from helpers.train_command import RATE, SMALL, TINY, TRACKS, exit_code, train, train_one

from openunmix.audio import read_audio
from openunmix.cli import _separate, _train
from openunmix.cli._train_data import load_data
from openunmix.cli._train_options import settings
from openunmix.data.stems import StemFolder
from openunmix.pretrained.folder import (
    load_folder,
)
from openunmix.training.validation import load_validation_tracks


def test_stems_become_a_model_that_umx_reads(data):
    assert train("--steps", "3") == 0
    for name in ("vocals.safetensors", "drums.safetensors", "separator.json", "report.html"):
        assert Path("run", name).is_file()
    networks, config, _ = load_folder("run")
    assert (*astuple(config.stft), config.channels) == (512, 128, RATE, 2)
    scores = json.loads(Path("run/history.json").read_text())[-1]["validation"]
    assert set(scores) == {"vocals", "drums"}
    song = "data/valid/c/vocals.wav"
    assert _separate.main([song, "--model", "run", "--outdir", "out", "--quiet"]) == 0
    for target in networks:
        assert read_audio(f"out/vocals/{target}.wav").waveform.shape == (2, RATE)


OLD = ["--target", "vocals", *SMALL, "--epochs", "2", "--output", "run"]
INTERFERERS = ["--interferer-files", "drums.wav", "--random-track-mix"]
SOUNDS = ["--root", "sounds", "--target-dir", "vocals", "--interferer-dirs", "drums"]


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("aligned", ["--root", "data", "--input-file", "mixture.wav", "--output-file", "v*.wav"]),
        (
            "trackfolder_fix",
            [*TRACKS, *INTERFERERS, "--source-augmentations", "gain", "channelswap"],
        ),
        (
            "trackfolder_var",
            [*TRACKS, "--ext", "s.wav", "--random-interferer-mix", "--silence-missing"],
        ),
        (
            "sourcefolder",
            [*SOUNDS, "--nb-train-samples", "4", "--nb-valid-samples", "2", "--ext", ".wav"],
        ),
        ("synthetic", ["--nb-train-samples", "4", "--nb-valid-samples", "1"]),
    ],
)
def test_data_sets_of_version_1(data, folders, dataset, options):
    assert exit_code("--dataset", dataset, *options, *OLD) == 0
    history = json.loads(Path("run/history.json").read_text())
    assert history[-1]["epoch"] == 2
    assert set(history[-1]["valid_loss"]) == {"vocals"}
    if dataset != "synthetic":  # is scored on the way
        assert json.loads(Path("run/scores.json").read_text()).keys() == {"vocals"}
        assert re.search(r"SDR -?[0-9.]+ dB", Path("run/report.html").read_text())


def test_stems_that_are_no_targets_are_in_the_mixtures(data):
    args = _train.parser().parse_args(["--root", "data", "--target", "drums", *SMALL])
    config = settings(args)
    mixture, ((drums,), *_), *_ = load_data(args, config).train.batch(0)
    mixture = mixture[0]
    assert (mixture - drums).square().mean() > 1e-5  # the voice
    (song,) = load_validation_tracks(Path("data/valid"), ["drums"], RATE)
    whole, _ = soundfile.read("data/valid/c/mixture.wav", dtype="float32")
    torch.testing.assert_close(song.mixture.T, torch.from_numpy(whole), atol=1e-4, rtol=0)
    assert song.stacked.shape == (1, 2, RATE)
    assert train_one("drums") == 0
    assert set(json.loads(Path("run/history.json").read_text())[-1]["validation"]) == {"drums"}


def test_stems_can_be_left_out_and_added(data):
    Path("more").mkdir()
    soundfile.write("more/x.wav", noise(RATE, seed=9).T.numpy(), RATE)
    assert train("--steps", "1", "--extra", "drums=more", "--exclude", "a=drums,vocals") == 0
    told = json.loads(Path("run/vocals.json").read_text())["data"]["train"]
    assert told == "stems: 1 of vocals, 2 of drums"
    assert train("--steps", "2", "--extra", "drums=more=0.5", "--also", "data/valid=0.1") == 0
    told = json.loads(Path("run/vocals.json").read_text())["data"]["train"]
    assert told == "stems: 3 of vocals, 4 of drums"


def test_accompaniment_replaces_what_is_no_target(data):
    Path("music").mkdir()
    soundfile.write("music/x.wav", noise(RATE, seed=9).T.numpy(), RATE)
    options = ["--root", "data", "--targets", "vocals", "--seq-dur", "0.5"]
    args = _train.parser().parse_args([*options, "--accompaniment", "music=1"])
    mixer = load_data(args, settings(args)).train
    assert mixer.library.targets == ["vocals", "drums"]
    assert [stem.target for stem in mixer.library.accompaniment] == ["drums"]
    assert mixer.config.accompaniment == StemFolder("music", share=1.0)
    command = ["--root", "data", "--targets", "vocals", *SMALL, "--output", "run", "--steps", "1"]
    assert exit_code(*command, "--accompaniment", "music") == 0


def test_data_are_only_checked_if_asked(data, capsys):
    assert train("--check") == 0
    assert "Dataset stems in data" in capsys.readouterr().out
    for track in "ab":
        Path(f"data/train/{track}/vocals.wav").write_bytes(b"junk" * 99)
    assert train("--check") == 1
    assert "b/vocals.wav" in capsys.readouterr().out
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("data").rename("gone"), "train: no such folder"),
        (lambda: Path("data/valid").rename("gone"), "valid: no such folder"),
        (lambda: (Path("data/train").rename("gone"), Path("data/train").mkdir()), "no track"),
        (lambda: [p.unlink() for p in Path("data").rglob("drums.*")], "['drums']"),
    ],
)
def test_bad_data_gets_one_line(data, capsys, spoil, message):
    spoil()
    assert train("--steps", "1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("umx-train: ")
    assert message in line


@pytest.mark.parametrize("content", [b"", b"junk" * 99, b"RIFF\x24\0\0\0WAVE"])
def test_check_and_training_pass_over_a_bad_stem(data, capsys, caplog, content):
    """A download broke off: its stem is left out with a warning, and the others are trained on."""
    Path("data/train/a/vocals.wav").write_bytes(content)
    assert train("--check") == 0
    assert "left-out" in capsys.readouterr().out
    assert train("--steps", "1") == 0
    assert "left out: 'data/train/a/vocals.wav'" in caplog.text


@pytest.mark.parametrize("suffix", ["WAV", "aiff", "Flac", "ogg"])
def test_every_layout_finds_stems_in_any_case_and_format(data, folders, suffix):
    """A studio delivers Vocals.WAV or vocals.aiff, on a disk that was in a Mac."""
    for path in [*Path("data").rglob("*.wav"), *Path("sounds").rglob("*.wav")]:
        audio, rate = soundfile.read(path, dtype="float32")
        soundfile.write(path.with_name(f"{path.stem.title()}.{suffix}"), audio, rate)
        path.unlink()
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        path.with_name("cover.jpg").write_bytes(b"\xff\xd8")
        path.with_name(".DS_Store").write_bytes(b"\0")
    layouts = {
        "stems": ["--root", "data"],
        "aligned": ["--root", "data"],
        "trackfolder_fix": [*TRACKS, "--interferer-files", "drums.wav"],
        "trackfolder_var": TRACKS,
        "sourcefolder": [*SOUNDS, "--nb-train-samples", "2", "--nb-valid-samples", "1"],
    }
    for dataset, options in layouts.items():
        given = ["--dataset", dataset, *options, "--target", "vocals", *SMALL]
        assert exit_code(*given, "--check") == 0
        args = _train.parser().parse_args(given)
        found = load_data(args, settings(args))
        assert found.targets == ("vocals",)
        if dataset != "stems":
            assert len(found.train) == 2


def test_file_that_ends_too_soon_is_named(data, caplog):
    path = Path("data/train/a/drums.wav")
    path.write_bytes(path.read_bytes()[:9000])
    options = [*TRACKS, "--interferer-files", "drums.wav", *TINY, "--epochs", 1, "--output", "run"]
    assert exit_code("--dataset", "trackfolder_fix", *options) == 0
    assert "a/drums.wav" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seq-dur", "5"], "lasts 2.000 s, an excerpt 5.000 s"),
        (["--interferer-files", "flute.wav"], "there is no flute.wav"),
        (["--targets", "vocals", "flute"], "no source 'flute'; it has vocals, drums"),
    ],
)
def test_data_that_do_not_fit_are_named(data, capsys, arguments, message):
    options = [*TRACKS, "--interferer-files", "drums.wav", *TINY, "--epochs", 1, "--output", "run"]
    assert exit_code("--dataset", "trackfolder_fix", *options, *arguments) in (1, 2)
    assert message in capsys.readouterr().err


def test_synthetic_songs_have_nothing_to_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code("--check") == 0
    assert "Dataset synthetic, generated" in capsys.readouterr().out


def test_extra_folder_without_files_is_an_error(data, capsys):
    Path("nothing").mkdir()
    assert train("--steps", "1", "--extra", "drums=nothing") == 1
    error = capsys.readouterr().err
    assert "umx-train: nothing: no audio files found; there is nothing in it" in error
