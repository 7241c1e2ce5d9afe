"""Inputs, names and disks that fail, and what is left behind."""

from __future__ import annotations

import errno
import math
import os
import shutil

import numpy as np
import pytest
from helpers.results import left_in
from helpers.sounds import noise
from hypothesis import given
from hypothesis import strategies as st

from openunmix.audio import STEM_MP4, AudioReader, AudioWriter
from openunmix.errors import AudioFileError
from openunmix.predict import file_stream
from openunmix.predict.files import FileOptions, output_paths, separate_file
from openunmix.predict.stream import StreamConfig


def test_channels_that_cannot_be_mixed_or_written_are_errors(song, tiny_separator, tmp_path):
    path = song(noise(100, channels=9))
    with pytest.raises(AudioFileError, match=r"song.wav' has 9 channels; mix them to two"):
        separate_file(path, tmp_path / "out", tiny_separator())
    mono = tiny_separator(nb_channels=1)
    with pytest.raises(AudioFileError, match=r"9 channels and .flac takes 8; write .wav"):
        separate_file(path, tmp_path / "out", mono, FileOptions(".flac"))
    assert left_in(tmp_path) == ["song.wav"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_found(song, separator, tmp_path, value):
    waveform = noise(8000)
    waveform[1, 4000] = value
    with pytest.raises(
        AudioFileError, match=rf"song.wav' .* {value} in channel 1 .*4000 \(0.500 s"
    ):
        separate_file(song(waveform), tmp_path / "out", separator)
    assert left_in(tmp_path) == ["song.wav"]


def test_values_too_large_for_single_precision_are_an_error(song, separator, tmp_path):
    with pytest.raises(AudioFileError, match=r"song.wav' .*too loud"):
        separate_file(song(1e30 * noise(8000)), tmp_path / "out", separator)
    assert left_in(tmp_path) == ["song.wav"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a:b", "a*", "a\nb", "a\0", "\udcff", 300 * "x"],
)
def test_names_that_cannot_be_files_are_refused(song, separator, tmp_path, name):
    path = song(noise(800))
    for options in (FileOptions(residual=name), FileOptions(aggregate={name: ["vocals"]})):
        with pytest.raises(ValueError, match="cannot be a file name"):
            separate_file(path, tmp_path / "out", separator, options)
    assert left_in(tmp_path) == ["song.wav"]


@given(st.text(max_size=30))
def test_names_stay_in_their_folder(name):
    try:
        FileOptions(aggregate={name: ["vocals"]}).names(["vocals"])
    except ValueError:
        return
    assert os.path.dirname(os.path.normpath(os.path.join("folder", f"{name}.wav"))) == "folder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FileOptions(residual="vocals"), "a target is"),
        (FileOptions(residual="Vocals"), "differ only in case"),
        (FileOptions(aggregate={"a": ["vocals"], "A": ["drums"]}), "differ only in case"),
        (FileOptions(aggregate={"a": ["vocals", "bass"]}), "cannot make 'a' from .*'bass'"),
        (FileOptions(aggregate={"a": ["residual"]}), "cannot make 'a'"),
        (FileOptions(aggregate={"a": []}), "cannot make 'a'"),
    ],
)
def test_outputs_that_cannot_be_made_are_refused(separator, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        separate_file(tmp_path / "song.wav", tmp_path / "out", separator, options)


def fail_at(monkeypatch, count, error):
    """Let writing audio fail at the given call."""
    calls = []
    write = AudioWriter.write

    def failing(self, block):
        calls.append(self)
        if len(calls) == count:
            raise error
        write(self, block)

    monkeypatch.setattr(AudioWriter, "write", failing)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", [AudioFileError, OSError])
def test_full_disk_leaves_nothing_new(song, separator, tmp_path, monkeypatch, count, kind):
    path = song(noise(8000))
    options = FileOptions(".flac")
    old = separate_file(path, tmp_path / "out", separator, options)
    before = {output: output.read_bytes() for output in old.outputs.values()}
    fail_at(monkeypatch, count, kind(errno.ENOSPC, "No space left on device"))
    with pytest.raises(AudioFileError, match="No space left on device"):
        separate_file(path, tmp_path / "out", separator, options)
    assert left_in(tmp_path) == ["drums.flac", "out", "song.wav", "vocals.flac"]
    assert {output: output.read_bytes() for output in before} == before


def test_folder_that_cannot_be_made_is_found_before_any_work(
    song, separator, tmp_path, monkeypatch
):
    monkeypatch.setattr(file_stream, "separate_channels", None)
    path = song(noise(800))
    (tmp_path / "out").touch()
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(AudioFileError, match="cannot be written: Not a directory"):
            separate_file(path, folder, separator)
    assert left_in(tmp_path) == ["out", "song.wav"]


def test_disk_with_too_little_room_is_found_before_any_work(song, separator, tmp_path, monkeypatch):
    """Six hours of a recording were separated until the disk was full."""
    monkeypatch.setattr(file_stream, "separate_channels", None)
    path = song(noise(8000))
    needed = 2 * 2 * 4 * 8000  # stems, channels, bytes of a float, samples
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (10**9, 10**9 - needed, needed - 1))
    with pytest.raises(AudioFileError, match=r"out' cannot be written: No space .*0.0 GB needed"):
        separate_file(path, tmp_path / "out", separator)
    assert left_in(tmp_path) == ["song.wav"]


def test_input_is_not_overwritten(song, separator, tmp_path):
    path = song(noise(800), name="vocals.wav")
    content = path.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for folder in (tmp_path, tmp_path / "link"):
        with pytest.raises(AudioFileError, match="would be overwritten"):
            separate_file(path, folder, separator)
    assert path.read_bytes() == content


def test_peak_memory_does_not_hold_the_song(song, separator, tmp_path, monkeypatch):
    """The mixture that waits for its estimates is as long as a block, not as the song."""
    longest = []
    push = file_stream.Delay.push

    def counting(self, block):
        longest.append(self.samples)
        return push(self, block)

    monkeypatch.setattr(file_stream.Delay, "push", counting)
    path = song(noise(120 * 8000))
    separate_file(path, tmp_path / "out", separator)
    assert np.diff(longest).min() < 0
    assert max(longest) < 40 * 8000


def test_readers_and_writers_are_closed(song, separator, tmp_path, monkeypatch):
    opened = []
    original = AudioReader.__init__

    def counting(self, *args, **settings):
        original(self, *args, **settings)
        opened.append(self)

    monkeypatch.setattr(AudioReader, "__init__", counting)
    separate_file(song(noise(800)), tmp_path, separator, FileOptions(".flac"))
    assert len(opened) == 3  # the input and two spooled files
    assert all(reader._decoder._handle.closed for reader in opened)
    opened.clear()
    separate_file(song(noise(800)), tmp_path, separator, config=StreamConfig(exact=True))
    assert len(opened) == 2  # exact reads the input twice
    assert all(reader._decoder._handle.closed for reader in opened)


def test_paths_of_outputs(tmp_path):
    folder = tmp_path / "song"
    names = ["vocals", "a.b"]
    assert output_paths(folder, names, ".mp3") == {
        "vocals": folder / "vocals.mp3",
        "a.b": folder / "a.b.mp3",
    }
    assert set(output_paths(folder, names, STEM_MP4).values()) == {folder / "song.stem.mp4"}
