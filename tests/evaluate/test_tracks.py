"""Tracks with estimates of their own."""

from __future__ import annotations

import pytest

from openunmix.errors import AudioFileError
from openunmix.evaluate import Track
from openunmix.evaluate.tracks import estimate_files, find_estimates, find_pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "line 1: give two folders"),
        ("nowhere,nothing\n", "is not a folder"),
        ("", "no pairs"),
    ],
)
def test_lists_that_are_not_pairs_are_errors(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(AudioFileError, match=message):
        find_pairs(tmp_path / "pairs.csv")


NAMES = [
    ("Beyonc\u00e9 - Halo", "Beyonce\u0301 - Halo"),  # macOS decomposes names
    ("Beyonce\u0301 - Halo", "Beyonc\u00e9 - Halo"),
    ("A - Stra\u00dfe", "a - STRASSE"),
    ("A  - B", "A - B "),
    ("A - B", "A\u00a0- B"),
]


@pytest.mark.parametrize(("name", "other"), NAMES)
@pytest.mark.parametrize("subset", ["test", "."])
def test_folder_is_found_in_another_spelling(tmp_path, name, other, subset):
    """Estimates were made on a Mac, whose names were not found on Linux."""
    track = Track(name, "test", path=tmp_path / "tracks" / name)
    folder = tmp_path / subset / other
    folder.mkdir(parents=True)
    assert find_estimates(tmp_path, track) == folder
    (tmp_path / name).mkdir()
    assert find_estimates(tmp_path, track) == tmp_path / name


def test_folder_of_another_track_is_not_taken(tmp_path):
    """Two tracks differ in case only, and there are estimates of one of them."""
    for name in ("Intro", "INTRO"):
        (tmp_path / "tracks" / name).mkdir(parents=True)
    (tmp_path / "INTRO").mkdir()
    assert find_estimates(tmp_path, Track("INTRO", path=tmp_path / "tracks" / "INTRO"))
    with pytest.raises(AudioFileError, match="no folder"):
        find_estimates(tmp_path, Track("Intro", path=tmp_path / "tracks" / "Intro"))
    (tmp_path / "iNTRO").mkdir()
    with pytest.raises(AudioFileError, match="INTRO and iNTRO could be Intro; rename"):
        find_estimates(tmp_path, Track("Intro"))


def test_files_are_found_in_another_spelling(tmp_path):
    """Another tool calls its estimates Vocals.WAV and "drums .wav", and adds files of its own."""
    for name in ("Vocals.WAV", "drums .wav", "bass.flac", "Bass.wav", "mixture.wav", "log.txt"):
        (tmp_path / name).touch()
    found = estimate_files(tmp_path, ["vocals", "drums", "bass", "other"])
    assert {name: file.name for name, file in found.items()} == {
        "vocals": "Vocals.WAV",
        "drums": "drums .wav",
        "bass": "bass.flac",
    }
    (tmp_path / "VOCALS.wav").touch()
    with pytest.raises(AudioFileError, match="VOCALS and Vocals could be vocals"):
        estimate_files(tmp_path, ["vocals"])
