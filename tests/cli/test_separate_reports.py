"""The command ``umx``: what it says and what it records."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from helpers.checks import decibels
from helpers.commands import TARGETS, manifest, song, total, tree
from helpers.sounds import mixture, noise
from tqdm import tqdm

pytestmark = pytest.mark.usefixtures("work_folder")


def test_manifest_tells_everything(umx, capsys, model):
    song()
    assert umx("song.wav", "missing.wav", "--json", "--niter", "0") == 1
    content = manifest(capsys)
    assert content["model"]["name"] == "tiny"
    assert set(content["model"]["sha256"]) == set(TARGETS)
    assert content["settings"]["niter"] == 0
    assert content["settings"]["targets"] == sorted(TARGETS)
    done, failed = content["files"]
    assert done["status"] == "done"
    assert (done["input"], done["sample_rate"], done["channels"]) == ("song.wav", 8000, 2)
    assert done["duration"] == 1.0
    assert done["seconds"] > 0
    assert done["real_time_factor"] > 0
    assert done["gain"] == 1
    assert {path for path in done["outputs"].values()} == {
        f"song_tiny/{name}.wav" for name in TARGETS
    }
    assert failed["status"] == "failed"
    assert "missing.wav' does not exist" in failed["error"]
    assert "outputs" not in failed


def test_quiet_success_says_nothing(umx, capfd, recwarn):
    song(waveform=5 * noise(8000, channels=6))
    assert umx("song.wav", "song.wav", "--quiet", "--ext", ".flac", "--audio-backend", "sox") == 0
    assert capfd.readouterr() == ("", "")


def test_quiet_still_tells_errors(umx, capfd):
    assert umx("missing.wav", "--quiet") == 1
    assert capfd.readouterr().err.splitlines() == [
        "umx: 'missing.wav' does not exist; check the path"
    ]


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self):
        return True


def test_progress_is_in_seconds_of_audio(umx, monkeypatch):
    song("a.wav", noise(24000))
    song("b.wav", noise(40000))
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    assert umx("a.wav", "b.wav") == 0
    shown = sys.stderr.getvalue()
    assert "a.wav:   0%|" in shown
    assert "0/3 s of audio" in shown
    assert "b.wav:   0%|" in shown
    assert "all files:   0%|" in shown
    assert "0/8 s of audio" in shown
    assert umx("a.wav", "--quiet") == 0
    assert sys.stderr.getvalue() == shown


def test_dry_run_tells_what_would_be_done_and_does_nothing(umx, capsys):
    song()
    assert umx("song.wav", "missing.wav", "--dry-run", "--json", "--ext", "mp3") == 1
    assert tree() == ["song.wav"]
    captured = capsys.readouterr()
    planned, failed = json.loads(captured.out)["files"]
    assert planned["status"] == "planned"
    assert planned["duration"] == 1.0
    assert planned["expected_seconds"] >= 0
    assert planned["expected_memory_gb"] > 0.1
    assert planned["outputs"]["vocals"] == "song_tiny/vocals.mp3"
    assert failed["status"] == "failed"
    lines = captured.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("umx: song.wav: 1 s of audio, about 0 s and ")
    assert "song_tiny/vocals.mp3" in lines[0]
    assert lines[1] == "umx: 'missing.wav' does not exist; check the path"


def test_file_names_cannot_break_the_line_or_move_the_cursor(umx, capfd):
    song("a\nb\x1b[2J\u202e.wav")
    assert umx("a\nb\x1b[2J\u202e.wav", "c\n\x1b[2J.wav") == 1
    captured = capfd.readouterr()
    lines = [line for line in captured.err.splitlines() if "umx: " in line]
    assert len(lines) == 2
    assert "a\\nb\\x1b[2J\\u202e.wav: 1 s in " in lines[0]
    assert "c\\n\\x1b[2J.wav' does not exist" in lines[1]


@pytest.mark.parametrize("arguments", [[], ["--quiet"]])
def test_only_errors_reach_a_real_stderr_if_quiet(model, arguments):
    song(waveform=50 * noise(800, channels=6))
    code = "from openunmix.cli import separate; separate()"
    command = [sys.executable, "-c", code, "song.wav", "missing.wav", "--model", model, "--json"]
    process = subprocess.run(
        [*command, "--ext", "flac", "--audio-backend", "sox", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 1
    statuses = [record["status"] for record in json.loads(process.stdout)["files"]]
    assert statuses == ["done", "failed"]
    failure = "umx: 'missing.wav' does not exist; check the path"
    if arguments:
        assert process.stderr.splitlines() == [failure]
        return
    for message in (
        failure,
        "umx: --audio-backend sox is deprecated",
        "umx: song.wav: 6 channels mixed down to stereo",
        "umx: song.wav: 0 s in ",
        "; all stems scaled by 0.",
    ):
        assert message in process.stderr
    assert "|" not in process.stderr  # bars are for terminals
    assert "Traceback" not in process.stderr


def test_loud_song_in_an_integer_format_is_reported(umx, capsys):
    song(waveform=5 * mixture(8000))
    assert umx("song.wav", "--bit-depth", "24", "--json", "--residual") == 0
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)["files"]
    assert record["peak"] > 1
    assert record["gain"] * record["peak"] == pytest.approx(1, abs=1e-3)
    assert f"all stems scaled by {record['gain']:.3f}" in captured.err
    waveform = record["gain"] * 5 * mixture(8000)
    assert decibels(total("song_tiny") - waveform, waveform) < -90
