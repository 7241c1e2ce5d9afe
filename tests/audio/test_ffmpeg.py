"""FFmpeg through PyAV: many channels, and the lengths of packets."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers.files import LENGTH, encode, lag, music, read, remux, snr

from openunmix import audio


@pytest.mark.parametrize(("codec", "container", "extension"), [
    ("aac", "ipod", ".m4a"), ("flac", "matroska", ".mka"), ("pcm_s16le", "matroska", ".mkv"),
])  # fmt: skip
def test_eight_planes_are_decoded(tmp_path, codec, container, extension):
    """Somebody separated a film in 7.1: PyAV read behind the eighth plane and the process died."""
    block = music(LENGTH, 8)
    path = encode(tmp_path / f"a{extension}", block, codec, "7.1", container)
    values = read(path)
    assert len(audio.probe(path).layout) == 8
    assert values.shape[0] == 8
    offset = max(lag(block, values), 0)
    # The last rows: the low-frequency channel of a lossy codec is limited to low frequencies.
    estimate = values[4:, offset : LENGTH + offset]
    assert snr(block[4:, : estimate.shape[1]], estimate) > (6 if codec == "aac" else 80)


@pytest.mark.parametrize(("layout", "channels"), [("6.1", 7), ("7.1", 8)])
def test_custom_order_of_quicktime_is_decoded(tmp_path, layout, channels):
    """Somebody separated a .mov of 6.1 or 7.1: PyAV freed its list of channels twice."""
    block = music(LENGTH, channels)
    path = encode(tmp_path / "a.mov", block, "pcm_s16le", layout, "mov")
    code = (  # a process of its own: it dies at its end, or after some more memory was used
        "import sys, gc\nfrom openunmix import audio\n"
        "for _ in range(3): print(audio.read_audio(sys.argv[1]).waveform.shape[0])\n"
        "gc.collect(); print(*audio.probe(sys.argv[1]).layout)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *counts, names = done.stdout.splitlines()
    assert counts == [str(channels)] * 3
    assert {"FL", "FR", "FC", "LFE", "SL", "SR"} < set(names.split())
    assert snr(block, read(path)) > 80


@pytest.mark.parametrize(
    ("codec", "container"), [("aac", "mp4"), ("aac", "mov"), ("flac", "mp4"), ("pcm_s16le", "mov")]
)
def test_mkv_remuxed_to_mp4_keeps_every_sample(tmp_path, codec, container):
    """Somebody remuxed a recording, whose times are in milliseconds: packets are announced a
    little shorter than they are, and each was cut."""
    path = encode(tmp_path / "a.mkv", music(), codec, "stereo", "matroska")
    whole = read(path)
    values = read(remux(path, tmp_path / f"a.{container}", container))
    np.testing.assert_array_equal(values, whole)


def test_only_the_end_of_mp4_is_padding(tmp_path):
    """The last frame of AAC is padded, and MP4 says by how much."""
    path = encode(tmp_path / "a.m4a", music(), "aac", "stereo", "ipod")
    assert read(path).shape[1] == LENGTH
