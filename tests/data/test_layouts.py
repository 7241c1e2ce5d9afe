"""Layouts of folders: tracks found by name, and those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from openunmix.data.layouts import files_of, track_folders, usable, variable_tracks
from openunmix.errors import AudioFileError


def test_tracks_and_files_are_listed_sorted_without_hidden_ones(tmp_path):
    for name in ["b", "a", ".hidden"]:
        Path(tmp_path, "train", name).mkdir(parents=True)
    for name in ["b/2.wav", "b/1.wav", "b/._1.wav", "b/1.txt", "file"]:
        Path(tmp_path, "train", name).touch()
    folders = track_folders(tmp_path, "train")
    assert [folder.name for folder in folders] == ["a", "b"]
    assert [path.name for path in files_of(folders[1], "*.wav")] == ["1.wav", "2.wav"]
    with pytest.raises(AudioFileError, match=r"valid: no such folder; --root needs a folder"):
        track_folders(tmp_path, "valid")


def test_tracks_that_cannot_be_used_are_told(caplog):
    assert usable({Path("a"): 1, Path("b"): "too quiet"}, Path("root")) == [1]
    assert caplog.messages == ["skipped b: too quiet"]
    with pytest.raises(
        AudioFileError, match=r"root: none of 1 tracks can be used \(b: too quiet\)"
    ):
        usable({Path("b"): "too quiet"}, Path("root"))
    with pytest.raises(AudioFileError, match=r"root: none of 0 tracks can be used \(it is empty\)"):
        usable({}, Path("root"))


def test_stem_named_like_the_target_does_not_take_its_place(tmp_path):
    for name in ["a/vocals.flac", "a/vocals.wav", "a/drums.wav", "b/vocals.wav"]:
        Path(tmp_path, "train", name).parent.mkdir(parents=True, exist_ok=True)
        Path(tmp_path, "train", name).touch()
    both, other = variable_tracks(tmp_path, "train", "vocals.flac", ".wav", silence_missing=True)
    assert {name: source.path.name for name, source in both.sources.items()} == {
        "vocals": "vocals.flac",
        "drums": "drums.wav",
        "vocals.wav": "vocals.wav",
    }
    assert list(other.sources) == ["vocals.wav"]
