"""What the tests of separation share: a tiny separator, and songs in files."""

from __future__ import annotations

import pytest
import soundfile


@pytest.fixture
def song(tmp_path):
    """Return a function that writes a waveform as a float WAV."""

    def write(waveform, sample_rate=8000, name="song.wav", subtype="FLOAT"):
        soundfile.write(tmp_path / name, waveform.T.numpy(), sample_rate, subtype)
        return tmp_path / name

    return write


@pytest.fixture
def separator(tiny_separator):
    return tiny_separator()
