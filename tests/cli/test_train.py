"""The command ``umx-train``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from synth import noise, panned, tone

from openunmix.audio import read_audio
from openunmix.checkpoints import load_folder
from openunmix.cli import _separate, _train
from openunmix.cli._train import main
from openunmix.training import loop

RATE = 44100
TINY = ["--targets", "vocals", "drums", "--hidden-size", "8", "--nfft", "512", "--nhop", "128"]
TINY += ["--batch-size", "2", "--seq-dur", "0.5", "--precision", "float32", "--device", "cpu"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Make two tracks to train with and one to validate."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(["train/a", "train/b", "valid/c"]):
        folder = Path("data", name)
        folder.mkdir(parents=True)
        samples = 4 * RATE if seed < 2 else RATE
        voice = panned(tone(samples, 300.0 + 50 * seed, RATE), 0.3)
        soundfile.write(folder / "vocals.wav", voice.T.numpy(), RATE)
        soundfile.write(folder / "drums.flac", noise(samples, seed=seed).T.numpy(), RATE)
    return Path("data")


def exit_code(*arguments):
    """Run the command; return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def train(*arguments):
    """Train a tiny model; return the exit code."""
    return exit_code("--root", "data", "--output", "run", *TINY, *arguments)


def weights():
    """All trained weights."""
    return torch.cat(
        [p.flatten() for n in load_folder("run").networks.values() for p in n.parameters()]
    )


def test_run_writes_a_model_that_umx_reads(data):
    assert train("--steps", "3") == 0
    for name in ("vocals.safetensors", "drums.safetensors", "separator.json", "history.json"):
        assert Path("run", name).is_file()
    networks, config, _ = load_folder("run")
    assert (config.n_fft, config.n_hop, config.sample_rate, config.channels) == (512, 128, RATE, 2)
    assert networks["vocals"].hidden_size == 8
    scores = json.loads(Path("run/history.json").read_text())[-1]["validation"]
    assert set(scores) == {"vocals", "drums"}
    song = "data/valid/c/vocals.wav"
    assert _separate.main([song, "--model", "run", "--outdir", "out", "--quiet"]) == 0
    for target in networks:
        assert read_audio(f"out/vocals/{target}.wav").waveform.shape == (2, RATE)


def test_run_goes_on_where_it_was_interrupted(data, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(_train, "_DEFAULTS", replace(_train._DEFAULTS, save_every=2))
    assert train("--steps", "4") == 0
    wanted = weights()
    for path in Path("run").iterdir():
        path.unlink()
    update = loop.Trainer.update

    def interrupted(self, sources):
        if self.step == 3:
            raise KeyboardInterrupt
        return update(self, sources)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "update", interrupted)
        assert train("--steps", "4") == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err
    assert train("--steps", "4") == 0
    assert "resumed at step 2" in caplog.text
    assert torch.equal(weights(), wanted)


def test_unidirectional_networks_are_read_back(data):
    assert train("--steps", "1", "--unidirectional", "--hidden-size", "7") == 0
    networks = load_folder("run").networks
    assert all(network.unidirectional for network in networks.values())
    assert networks["drums"].hidden_size == 7


def test_stems_can_be_left_out_and_added(data, caplog):
    caplog.set_level("INFO")
    Path("more").mkdir()
    soundfile.write("more/x.wav", noise(RATE, seed=9).T.numpy(), RATE)
    assert train("--steps", "1", "--extra", "drums=more", "--exclude", "a=drums,vocals") == 0
    assert "decoded 3 stems" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("data").rename("gone"), "train: no such folder"),
        (lambda: Path("data/train").rename("gone"), "train: no such folder"),
        (lambda: Path("data/valid").rename("gone"), "valid: no such folder"),
        (lambda: (Path("data/train").rename("gone"), Path("data/train").mkdir()), "no track"),
        (lambda: [p.unlink() for p in Path("data").rglob("drums.*")], "['drums']"),
        (lambda: Path("data/train/a/vocals.wav").write_bytes(b"junk" * 99), "a/vocals.wav"),
        (lambda: Path("data/train/a/vocals.wav").write_bytes(b""), "a/vocals.wav' is empty"),
    ],
)
def test_bad_data_gets_one_line(data, capsys, spoil, message):
    spoil()
    assert train("--steps", "1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("umx-train: ")
    assert message in line


def test_extra_folder_without_files_is_an_error(data, capsys):
    Path("nothing").mkdir()
    assert train("--steps", "1", "--extra", "drums=nothing") == 1
    assert "umx-train: nothing: no files found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden-size", "0"], "--hidden-size must be positive"),
        (["--hidden-size", "7"], "--hidden-size 7 must be even"),
        (["--steps", "0"], "--steps must be positive"),
        (["--steps", "many"], "invalid int value"),
        (["--batch-size", "-1"], "--batch-size must be positive"),
        (["--seq-dur", "nan"], "--seq-dur must be positive"),
        (["--lr", "0"], "--lr must be positive"),
        (["--nhop", "500"], "at least twice --nhop"),
        (["--nfft", "513"], "--nfft 513 must be even"),
        (["--extra", "drums"], "'drums' is not of the form NAME=VALUE"),
        (["--extra", "guitar=."], "['guitar'] are not among the targets"),
        (["--exclude", "=drums"], "is not of the form"),
        (["--precision", "int8"], "invalid choice"),
        (["--unknown"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(data, capsys, arguments, message):
    assert train(*arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path("run").exists()


def test_required_arguments(capsys):
    assert exit_code() == 2
    assert "required: --root, --output" in capsys.readouterr().err


def test_other_settings_do_not_fit_a_run_that_is_resumed(data, capsys):
    assert train("--steps", "1") == 0
    assert train("--steps", "1", "--hidden-size", "12") == 2
    assert "is of a run with hidden_size=8; use the same" in capsys.readouterr().err
    Path("run/training.chkpnt").write_bytes(b"damaged")
    assert train("--steps", "1") == 1
    assert "training.chkpnt is damaged; remove it" in capsys.readouterr().err
