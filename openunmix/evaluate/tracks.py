"""Tracks with estimates of their own, and where the estimates of a track are."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from openunmix.data.tracks import Track, track_of
from openunmix.errors import AudioFileError


def find_pairs(file: Path, subset: str = "test") -> list[Track]:
    """Tracks from a CSV file of pairs of folders: the stems of a track, and its estimates.

    There is no heading; folders are relative to that of the file. Raises AudioFileError if a line
    is not a pair, or two tracks have the same name.
    """
    try:
        lines = list(csv.reader(file.read_text("utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AudioFileError(f"{file}: not a list of pairs: {error}") from error
    tracks = [
        _pair(file, number, line, subset) for number, line in enumerate(lines, 1) if any(line)
    ]
    twice = sorted(name for name, n in Counter(track.name for track in tracks).items() if n > 1)
    if twice or not tracks:
        raise AudioFileError(f"{file}: " + (f"{twice} occur twice" if twice else "no pairs in it"))
    return tracks


def _pair(file: Path, number: int, line: Iterable[str], subset: str) -> Track:
    """Return the track of one line."""
    folders = [file.parent / cell.strip() for cell in line]
    if len(folders) != 2:
        raise AudioFileError(f"{file}, line {number}: give two folders with a comma between them")
    for folder in folders:
        if not folder.is_dir():
            raise AudioFileError(f"{file}, line {number}: {folder} is not a folder")
    return replace(track_of(folders[0].resolve(), subset), estimates=folders[1])


def find_estimates(root: Path, track: Track) -> Path:
    """Folder of a track's estimates: ``subset/track`` or ``track`` in the root, or its own."""
    places = [root / track.subset / track.name, root / track.name]
    if track.estimates is not None:
        places = [track.estimates]
    for place in places:
        if place.is_dir():
            return place
    raise AudioFileError(f"no estimates: there is no folder {' or '.join(map(str, places))}")
