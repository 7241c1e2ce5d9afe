"""Tracks with estimates of their own, and where the estimates of a track are."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from openunmix.audio import STEM_MP4
from openunmix.data.tracks import Track, audio_files, track_of
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
    """Folder of a track's estimates: ``subset/track`` or ``track`` in the root, or its own.

    Without one of exactly this name, it may differ as :func:`_plain` allows.
    """
    if track.estimates is not None:
        return track.estimates
    places = [root / track.subset, root]
    for place in places:
        if (place / track.name).is_dir():
            return place / track.name
    for place in filter(Path.is_dir, places):
        folders = {path.name: path for path in sorted(place.iterdir()) if path.is_dir()}
        name = _alike(track.name, folders, place)
        if name in folders and not _is_other_track(track, name):
            return folders[name]
    names = " or ".join(str(place / track.name) for place in places)
    raise AudioFileError(f"no estimates: there is no folder {names}")


def estimate_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those audio files in a folder that have one of the names, by name."""
    files = audio_files(folder)
    found = {name: _alike(name, files, folder) for name in names}
    return {name: files[file] for name, file in found.items() if file in files}


def _alike(name: str, names: Collection[str], folder: Path) -> str:
    """Return the only one of some names that is plainly this one; the name itself without one."""
    alike = [name] if name in names else [it for it in names if _plain(it) == _plain(name)]
    if len(alike) > 1:
        raise AudioFileError(f"{folder}: {' and '.join(alike)} could be {name}; rename one of them")
    return alike[0] if alike else name


def _plain(name: str) -> str:
    """Name in one case, one Unicode form (macOS decomposes names), and with single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _is_other_track(track: Track, name: str) -> bool:
    """Whether a name, which is not the track's, is exactly that of another track beside it."""
    files = (name, name + STEM_MP4)
    return track.path is not None and any(track.path.with_name(file).exists() for file in files)
