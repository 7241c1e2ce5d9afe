"""Files on disk: names, places and permissions, in messages of one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from helpers.files import LENGTH, RATE, music, read, write

from openunmix import audio
from openunmix.errors import AudioFileError


def test_missing_file_folder_empty_file_and_pipe_are_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "dir.wav").mkdir()
    cases = {"none.wav": "does not exist", "dir.wav": "is a folder", "empty.wav": "is empty"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        cases["pipe.wav"] = "is not a regular file"
    for name, reason in cases.items():
        for function in (audio.probe, audio.read_audio):
            with pytest.raises(AudioFileError, match=f"{name}' {reason}"):
                function(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_file_is_named(tmp_path):
    path = write(tmp_path / "a.wav", music(100))
    path.chmod(0)
    with pytest.raises(AudioFileError, match="permission denied"):
        audio.probe(path)


def test_error_messages_are_one_line_whatever_the_name(tmp_path):
    with pytest.raises(AudioFileError) as caught:
        audio.probe(tmp_path / "a\nb\x1b[31m.wav")
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not allow these names")
def test_odd_file_names_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("http:/x")
    names = ["-.wav", "concat:a|b.m4a", "http://x/a.m4a", "ü ñ 音.flac", "%03d.m4a"]
    names.append(os.fsdecode(b"\xff\xfe.wav") if sys.platform == "linux" else "x.wav")
    for name in names:
        write(Path(name), music())
        for given_name in (name, Path(name)):
            assert read(given_name).shape == (2, LENGTH)


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "dir.wav").mkdir()
    cases = {"dir.wav": "is a folder", "none/a.wav": "folder does not exist"}
    for name, reason in cases.items():
        with pytest.raises(AudioFileError, match=f"{name}.*{reason}"):
            audio.AudioWriter(tmp_path / name, RATE, 2)


def test_long_names_leave_room_for_the_temporary_name(tmp_path):
    path = tmp_path / (250 * "x" + ".wav")
    assert read(write(path, music(100))).shape == (2, 100)
