"""Layouts of folders: tracks found by name, and those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from openunmix.data.layouts import aligned_tracks, track_folders, usable, variable_tracks
from openunmix.errors import AudioFileError


def test_track_folders_are_listed_sorted_without_hidden_ones(tmp_path):
    for name in ["b", "a", ".hidden"]:
        Path(tmp_path, "train", name).mkdir(parents=True)
    Path(tmp_path, "train", "file").touch()
    assert [folder.name for folder in track_folders(tmp_path, "train")] == ["a", "b"]
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


def test_target_in_another_format_is_no_interferer(tmp_path, caplog):
    """Someone keeps vocals.flac beside vocals.wav: one is the target, the other is not used."""
    for name in ["a/vocals.flac", "a/vocals.wav", "a/drums.wav", "a/Mixture.wav", "b/VOCALS.WAV"]:
        Path(tmp_path, "train", name).parent.mkdir(parents=True, exist_ok=True)
        Path(tmp_path, "train", name).touch()
    for ext in (".wav", None):
        both, other = variable_tracks(tmp_path, "train", "vocals.flac", ext)
        assert {name: source.path.name for name, source in both.sources.items()} == {
            "vocals": "vocals.flac",
            "drums": "drums.wav",
        }
        assert other.sources["vocals"].path.name == "VOCALS.WAV"
        assert both.mixture.path.name == "Mixture.wav"
    assert "a: vocals.flac is used, not vocals.wav" in caplog.text


def test_pair_of_two_formats_of_one_name_needs_both(tmp_path):
    """To repair MP3, song.mp3 is the input and song.wav the target; neither stands for both."""
    for name in ["a/song.mp3", "a/song.wav", "b/song.wav"]:
        Path(tmp_path, "train", name).parent.mkdir(parents=True, exist_ok=True)
        Path(tmp_path, "train", name).touch()
    both, one = aligned_tracks(tmp_path, "train", "song.mp3", "song.wav")
    assert (both.mixture.path.name, both.sources["song"].path.name) == ("song.mp3", "song.wav")
    assert one.missing == ("song.mp3",)
