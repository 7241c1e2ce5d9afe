"""What people read first must run, fit on a page, and give a model that can be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

from openunmix.cli import _separate
from openunmix.pretrained import load_separator

EXAMPLE = Path(__file__).parent.parent / "examples/minimal.py"


def test_minimal_training_fits_on_a_page():
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 90


def test_minimal_training_gives_a_model_that_umx_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, str(EXAMPLE), "--steps", "4", "--tracks", "2", "--output", "model"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "step 4/4: loss " in done.stdout
    first, *_, last = (float(line.split()[-1]) for line in done.stdout.splitlines()[:-1])
    assert last < first
    noise = np.random.default_rng(0).standard_normal((44100, 2)) * 0.1
    soundfile.write("song.wav", noise, 44100)
    assert _separate.main(["song.wav", "--model", "./model", "--outdir", "out", "--quiet"]) == 0
    stems = sorted(path.name for path in Path("out").rglob("*.wav"))
    assert stems == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    network = load_separator("./model").target_models["vocals"]
    assert network.architecture.compression == 0.25
    assert not torch.equal(network.input_scale, torch.ones_like(network.input_scale))
