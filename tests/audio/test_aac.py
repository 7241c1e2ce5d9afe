"""Channels of AAC: what its program config element states."""

from __future__ import annotations

import av
import numpy as np
import pytest

from openunmix.audio import read_audio
from openunmix.audio._aac import aac_layout
from openunmix.audio.decoders import open_decoder

# What FFmpeg does not name, in the order in which it decodes.
STATED = {
    "3.1": "FL FR FC LFE",
    "quad(side)": "FL FR SL SR",
    "5.0(side)": "FL FR FC SL SR",
    "6.0": "FL FR FC BC SL SR",
    "hexagonal": "FL FR FC BL BR BC",
}


def encode(path, layout, sound, rate=44100):
    """Write channels (channels, samples) as AAC."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(sound.astype(np.float32), "fltp", layout)
        frame.rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize("layout", STATED)
def test_channels_have_the_names_that_the_file_states(tmp_path, layout):
    names = tuple(STATED[layout].split())
    encode(tmp_path / "film.m4a", layout, np.zeros((len(names), 8192)))
    decoder = open_decoder(tmp_path / "film.m4a")
    decoder.close()
    assert decoder.info.layout == names


def test_the_centre_of_3_1_is_in_the_middle(tmp_path):
    """The dialogue of a film in 3.1 came out at the left, and its subwoofer at the right."""
    time = np.arange(44100) / 44100
    sound = np.zeros((4, 44100))
    sound[2] = 0.3 * np.sin(2 * np.pi * 880 * time)
    sound[3] = 0.3 * np.sin(2 * np.pi * 60 * time)
    encode(tmp_path / "film.m4a", "3.1", sound)
    waveform = read_audio(tmp_path / "film.m4a", stereo=True).waveform[:, 8192:40000].numpy()
    assert np.std(waveform, axis=1) == pytest.approx([0.3 * 0.5] * 2, rel=0.02)  # no 60 Hz
    assert np.std(waveform[0] - waveform[1]) < 0.003


@pytest.mark.parametrize("config", [b"", b"\x12\x10", b"\x12\x00", b"\xff" * 9, bytes(range(40))])
def test_other_configurations_state_nothing(config):
    assert aac_layout(config) == ()
