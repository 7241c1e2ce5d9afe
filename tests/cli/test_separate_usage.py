"""The command ``umx``: what it takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.commands import exit_code, song, tree

from openunmix.cli import _separate
from openunmix.cli._separate import parser

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--targets", "guitar"], "guitar"),
        (["--ext", ".aiff"], "--ext .aiff: choose from .wav"),
        (["--ext", ".mp3", "--bit-depth", "16"], "--bit-depth 16 cannot be written to .mp3"),
        (["--ext", ".flac", "--bit-depth", "32"], "--bit-depth 32 cannot be written to .flac"),
        (["--bit-depth", "8"], "invalid choice: '8'"),
        (["--aggregate", "{"], "is not JSON"),
        (["--aggregate", "[1]"], "is not of the form"),
        (["--aggregate", '{"a": "vocals"}'], "is not of the form"),
        (["--aggregate", '{"a": []}'], "is not of the form"),
        (["--aggregate", "{}"], "is not of the form"),
        (["--aggregate", ""], "is not JSON"),
        (["--aggregate", "[" * 100_000], "is not JSON"),
        (["--aggregate", '{"a": [["bass"]]}'], "is not of the form"),
        (["--aggregate", '{"a": ["bass"], "a": ["drums"]}'], "a name is there twice"),
        (["--aggregate", '{"a": ["bass", "bass"]}'], "each once"),
        (["--aggregate", '{"a": ["guitar"]}'], "cannot make 'a' from ['guitar']"),
        (["--aggregate", '{"a": ["residual"]}'], "cannot make 'a' from ['residual']"),
        (["--aggregate", '{"../x": ["vocals"]}'], "'../x' cannot be a file name"),
        (["--aggregate", '{"a": ["vocals"], "A": ["bass"]}'], "differ only in case"),
        (["--residual", "vocals"], "a target is"),
        (["--residual", "a/b"], "'a/b' cannot be a file name"),
        (["--residual", ""], "'' cannot be a file name"),
        (["--niter", "-1"], "cannot be negative"),
        (["--niter", "x"], "invalid int value"),
        (["--wiener-win-len", "-1"], "cannot be negative"),
        (["--start", "-1"], "cannot be negative"),
        (["--start", "nan"], "start is nan"),
        (["--duration", "0"], "--duration not 0"),
        (["--duration", "inf"], "duration is inf"),
        (["--max-memory", "0.001"], "GB are needed"),
        (["--max-memory", "nan"], "GB are needed"),
        (["--device", "quantum"], "invalid choice"),
        (["--unknown"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(umx, capsys, arguments, message):
    song()
    assert umx("song.wav", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err.splitlines()[-1]
    assert tree() == ["song.wav"]


def test_device_that_is_not_there_is_wrong_usage(umx, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    song()
    assert umx("song.wav", "--device", "cuda") == 2
    assert "--device cuda: torch finds no such device" in capsys.readouterr().err


def test_no_input_is_wrong_usage(capsys):
    assert exit_code() == 2
    assert "required: input" in capsys.readouterr().err


def test_unknown_model_is_wrong_usage(capsys):
    song()
    assert exit_code("song.wav", "--model", "umxhp") == 2
    assert capsys.readouterr().err.startswith("umx: 'umxhp' is neither a known model (did you mean")
    assert exit_code("song.wav", "--model", "./none") == 2


def test_damaged_model_is_an_error(umx, model, capsys):
    song()
    (Path(model) / "bass.safetensors").write_bytes(b"damaged")
    assert umx("song.wav") == 1
    assert "bass.safetensors" in capsys.readouterr().err
    assert tree() == ["song.wav"]


def test_help_names_every_option(capsys):
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    for option in ("--model", "--targets", "--outdir", "--residual", "--max-memory", "--json"):
        assert option in text
    assert exit_code("--version") == 0


def test_options_of_1_3_0_are_understood():
    arguments = ["--model", "umxl", "--targets", "vocals", "drums", "--outdir", "out"]
    arguments += ["--ext", ".wav", "--start", "1.5", "--duration", "-1", "--no-cuda"]
    arguments += ["--audio-backend", "sox_io", "--niter", "1", "--wiener-win-len", "300"]
    arguments += ["--residual", "rest", "--aggregate", '{"a": ["vocals"]}']
    arguments += ["--filterbank", "torch", "--verbose"]
    args = parser().parse_args(["a.wav", "b.wav", *arguments])
    assert args.input == ["a.wav", "b.wav"]
    assert args.targets == ["vocals", "drums"]
    assert args.aggregate == {"a": ["vocals"]}


def test_deprecated_option_is_accepted(umx, caplog):
    song()
    assert umx("song.wav", "--audio-backend", "stempeg") == 0
    assert "--audio-backend stempeg is deprecated" in caplog.text


def test_names_that_begin_with_a_dash_are_files(umx, capsys):
    """`umx *.wav` in a folder with `-intro.wav` and `--2.wav` ended as wrong usage."""
    song("-intro.wav")
    song("--2.wav")
    assert umx("-intro.wav", "--2.wav", "--outdir", "out", "--targets", "bass") == 0
    assert tree("out") == ["--2/bass.wav", "-intro/bass.wav"]
    assert umx("-missing.wav") == 2


def test_a_target_named_twice_is_one(umx):
    song()
    assert exit_code("song.wav", "--model", "umxs", "--targets", "bass", "bass", "--quiet") == 0
    assert tree("song_umxs") == ["bass.wav"]


def test_impossible_sums_are_refused_before_a_model_is_downloaded(capsys, monkeypatch):
    """`--aggregate '{}'` failed after the separation; a wrong target, after the download."""
    monkeypatch.setattr(_separate, "resolve_model", lambda *_, **__: pytest.fail("too late"))
    song()
    for aggregation in ("{}", '{"a": ["guitar"]}'):
        assert exit_code("song.wav", "--model", "umxhq", "--aggregate", aggregation) == 2
        assert len(capsys.readouterr().err.splitlines()[-1]) < 200
