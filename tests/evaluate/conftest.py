"""A dataset, a model and estimates that the tests of evaluation share."""

from __future__ import annotations

import pytest
from helpers import models
from helpers.evaluation import TARGETS, stems, write_estimates

from openunmix.evaluate import System


@pytest.fixture
def dataset(track_folder):
    """Write three tracks as in MUSDB18-HQ; return the root."""
    for number in range(3):
        sources = stems(number)
        files = {f"{name}.wav": waveform for name, waveform in sources.items()}
        root = track_folder(f"test/song {number}", files).parents[1]
    return root


@pytest.fixture
def model(tmp_path, tiny_separator):
    """Write a model folder."""
    return models.save_model(tmp_path / "tiny", tiny_separator(TARGETS))


@pytest.fixture
def estimates(dataset, tmp_path):
    """Return a system of estimates in files."""
    folder = write_estimates(dataset, tmp_path / "others")
    return System(estimates=folder, targets=TARGETS)
