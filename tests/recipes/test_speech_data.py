"""Data of umxses as ``umx-train`` reads it, mono and at 16 kHz."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from openunmix.data import Mixer, MixingConfig, load_library
from openunmix.data.stems import StemFolder
from openunmix.training.validation import load_validation_tracks

RATE = 16000
TARGETS = ["speech", "noise"]
ROOMS = np.eye(1, 2000)


@pytest.fixture
def data(monkeypatch):
    """Return the module that writes the data, with fewer files of noise made by the code."""
    # Simulates the rooms, and is not needed where they are given.
    monkeypatch.setitem(sys.modules, "pyroomacoustics", ModuleType("pyroomacoustics"))
    module = importlib.import_module("data")
    monkeypatch.setattr(module, "_FILES", {"babble": 1, "hum": 1, "white": 1, "pink": 1})
    monkeypatch.setattr(module, "_SECONDS", 2)
    return module


def recordings(*names: str) -> dict[str, np.ndarray]:
    """Make recordings of 3 s by name."""
    rng = np.random.default_rng(0)
    return {name: rng.integers(-6000, 6000, 3 * RATE).astype(np.int16) for name in names}


def test_training_data_is_mixed_in_mono(data, tmp_path):
    voices, noises = recordings("one", "two"), recordings("moodist/cafe")
    data.write_train(tmp_path, voices, noises, ROOMS)

    folders = {"speech": ["reverberant"], "noise": ["babble", "hum", "white", "pink"]}
    mixing = MixingConfig(
        extra=tuple(
            StemFolder(str(tmp_path / folder), target, share=0.2)
            for target, of in folders.items()
            for folder in of
        ),
        balance={"noise": -5.0},
        silent=0.0,
        spread=0.0,
        transpose=0.0,
    )
    library = load_library(tmp_path, mixing, TARGETS, RATE)
    assert {target: len(stems) for target, stems in library.by_target.items()} == {
        "speech": 4,
        "noise": 5,
    }
    batch = Mixer(library, mixing, TARGETS, RATE, 50, RATE, channels=1).batch(0)
    assert batch.mixture.shape == (50, 1, RATE)
    assert torch.allclose(batch.sources.sum(dim=1), batch.mixture, atol=1e-6)
    speech, noise = batch.sources.square().mean(dim=(2, 3)).T
    assert float((10 * (speech / noise).log10()).median()) == pytest.approx(5, abs=1)


def test_validation_tracks_have_speech_and_noise_of_one_power(data, tmp_path):
    voices = recordings(*data.SPEAKERS, "klettres-de")
    data.write_valid(tmp_path, voices, recordings("moodist/cafe"), ROOMS)

    tracks = load_validation_tracks(tmp_path / "valid", TARGETS, RATE, channels=1)
    kinds = {"moodist-cafe", "babble", "hum", "white", "pink"}
    assert {track.name for track in tracks} == {
        f"{kind}.{speaker}" for kind in kinds for speaker in data.SPEAKERS
    }
    for track in tracks:
        assert track.mixture.shape == (1, 6 * RATE)
        speech, noise = (track.sources[target].square().mean() for target in TARGETS)
        assert float(speech / noise) == pytest.approx(1, rel=1e-3)
        assert track.mixture.abs().max() > 0.05
