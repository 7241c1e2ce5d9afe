"""Decoding in a process of its own: what kills it, and what it says."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers.files import LENGTH, encode, music, read

from openunmix import audio
from openunmix.audio import _isolated
from openunmix.errors import AudioFileError

DEAD = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
DEAD_AFTER_A_BLOCK = (
    "import sys, struct, os, signal; from openunmix.audio import _isolated as i\n"
    "send = i._send\n"
    "def once(pipe, content, count=None):\n"
    "    send(pipe, content, count); pipe.flush()\n"
    "    if count: os.kill(os.getpid(), signal.SIGSEGV)\n"
    "i._send = once; i.main(sys.argv[1], sys.argv[2])\n"
)


@pytest.fixture
def film(tmp_path):
    return encode(tmp_path / "film.m4a", music(LENGTH, 8), "aac", "7.1", "ipod")


def test_ordinary_files_need_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(_isolated, "_COMMAND", ["/nowhere"])
    assert read(encode(tmp_path / "a.m4a", music(), "aac", "stereo", "ipod")).shape[0] == 2
    path = encode(tmp_path / "b.m4a", music(channels=6), "aac", "5.1", "ipod")
    assert read(path).shape[0] == 6


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("code", [DEAD, DEAD_AFTER_A_BLOCK])
def test_decoder_that_dies_fails_its_file(film, monkeypatch, code):
    """A decoder dies by SIGSEGV: an error that names file and signal, and this process lives."""
    monkeypatch.setattr(_isolated, "_COMMAND", [sys.executable, "-c", code])
    with pytest.raises(AudioFileError, match=r"film\.m4a.* crash after \d+ samples \(SIGSEGV\)"):
        read(film)


def test_error_of_the_process_is_passed_on(tmp_path):
    path = tmp_path / "a.m4a"
    encode(path, music(LENGTH, 8), "aac", "7.1", "ipod", movflags="faststart")
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(AudioFileError, match=r"a\.m4a' is damaged or cut short"):
        read(path)


def test_excerpt_is_read_and_the_process_stopped(film):
    whole = read(film)
    excerpt = read(film, start=0.5, duration=0.25)
    np.testing.assert_array_equal(excerpt, whole[:, 22050:][:, :11025])
    with audio.AudioReader(film) as reader:
        process = reader._decoder._process
        next(reader)
    assert process.returncode is not None
