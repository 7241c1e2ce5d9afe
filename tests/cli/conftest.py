"""What the tests of ``umx`` share: an empty folder to work in, and tiny models."""

from __future__ import annotations

import pytest
import torch
from helpers.commands import TARGETS, exit_code
from helpers.models import save_model

from openunmix.cli import _separate
from openunmix.predict.files import separate_file
from openunmix.pretrained import registry


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    """Work in an empty folder, without a network and without a cache."""
    for name in ("OPENUNMIX_MIRROR", "OPENUNMIX_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


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
