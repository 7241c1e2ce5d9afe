"""What `make demo` prints, on a song made here and a tiny model."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch
from helpers.models import save_model
from helpers.sounds import noise, panned, tone

from openunmix.audio import AudioWriter, write_stem_mp4

DEMO = str(Path(__file__).parents[2] / "scripts" / "demo.py")
RATE = 44100
NAMES = ["drums", "bass", "other", "vocals"]


@pytest.fixture
def song(tmp_path):
    """Write a second of four stems and their sum as a stem file."""
    stems = {
        "drums": noise(RATE),
        "bass": tone(RATE, 80.0, RATE, amplitude=0.2),
        "other": panned(tone(RATE, 700.0, RATE, amplitude=0.1), -0.5),
        "vocals": panned(tone(RATE, 2000.0, RATE, amplitude=0.15), 0.5),
    }
    files = {}
    for name, stem in {"mixture": torch.stack(list(stems.values())).sum(dim=0), **stems}.items():
        files[name] = tmp_path / f"{name}.wav"
        with AudioWriter(files[name], RATE, 2, "32f") as writer:
            writer.write(stem.numpy())
    path = tmp_path / "song.stem.mp4"
    write_stem_mp4(path, files.pop("mixture"), files)
    return path


def test_demo_separates_and_scores_a_song(song, tiny_separator, tmp_path, capfd):
    separator = tiny_separator(NAMES, n_fft=4096, n_hop=1024, sample_rate=float(RATE))
    model = save_model(tmp_path / "model", separator)
    arguments = ["--song", str(song), "--model", str(model), "--outdir", str(tmp_path / "demo")]
    assert runpy.run_path(DEMO)["main"]([*arguments, "--seconds", "2"]) == 0
    printed = capfd.readouterr().out
    rows = dict(re.findall(r"^(\w+) +-?\d+\.\d\d dB +(-?\d+\.\d\d) dB$", printed, re.MULTILINE))
    assert rows.keys() == set(NAMES)
    # Powers are 0.02, 0.04, 0.005 and 0.01125, each against the sum of the others. AAC adds some.
    expected = {"drums": -4.5, "bass": 0.4, "other": -11.5, "vocals": -7.6}
    assert {name: float(row) for name, row in rows.items()} == pytest.approx(expected, abs=1.0)
    assert "repeated to 2 s" in printed
    page = tmp_path / "demo" / "song" / "index.html"
    assert page.is_file()
    assert str(page) in printed
    for name in NAMES:
        assert (tmp_path / "demo" / "song" / f"{name}.wav").is_file()


def test_missing_song_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps stempeg"):
        runpy.run_path(DEMO)["example_track"]()
