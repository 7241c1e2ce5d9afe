"""What the tests of commands share: folders to work in, tiny models, small datasets."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from helpers.commands import TARGETS, exit_code
from helpers.models import save_model
from helpers.sounds import noise, panned, tone
from helpers.train_command import RATE

from openunmix.cli import _separate, _train
from openunmix.predict.files import separate_file
from openunmix.pretrained import registry


@pytest.fixture
def model(tiny_separator, tmp_path):
    return str(save_model(tmp_path / "tiny", tiny_separator(TARGETS)))


@pytest.fixture
def bundled(tiny_separator, tmp_path, monkeypatch):
    """Bundle a tiny model."""
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path / "weights")
    return save_model(tmp_path / "weights" / "umxs", tiny_separator(TARGETS))


@pytest.fixture
def umx(model):
    """Return a function that runs the command with a tiny model and gives its exit code."""

    def run(*arguments):
        return exit_code("--model", model, *arguments)

    return run


@pytest.fixture
def stream_configs(monkeypatch):
    """Return a list that gets the settings of the engine for each file."""
    configs = []

    def spy(source, folder, separator, options, config, progress):
        configs.append(config)
        return separate_file(source, folder, separator, options, config, progress)

    monkeypatch.setattr(_separate, "separate_file", spy)
    return configs


@pytest.fixture(autouse=True)
def _allocator(monkeypatch):
    """Leave the allocator alone: other tests in this process measure memory."""
    monkeypatch.setattr(_train, "keep_freed_memory", lambda device: False)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Make two tracks to train with and one to validate."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(["train/a", "train/b", "valid/c"]):
        folder = Path("data", name)
        folder.mkdir(parents=True)
        samples = 2 * RATE if seed < 2 else RATE
        voice = panned(tone(samples, 300.0 + 50 * seed, RATE), 0.3)
        drums = noise(samples, seed=seed)
        for stem, waveform in (("vocals", voice), ("drums", drums), ("mixture", voice + drums)):
            soundfile.write(folder / f"{stem}.wav", waveform.T.numpy(), RATE)
    return Path("data")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Make folders of sounds, one for each source."""
    monkeypatch.chdir(tmp_path)
    for seed, split in enumerate(("train", "valid")):
        for source in ("vocals", "drums"):
            folder = Path("sounds", split, source)
            folder.mkdir(parents=True)
            for count in range(2):
                waveform = noise(RATE, seed=seed + 2 * count)
                soundfile.write(folder / f"{count}.wav", waveform.T.numpy(), RATE)
