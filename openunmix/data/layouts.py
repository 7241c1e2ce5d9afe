"""Layouts of folders: which tracks each kind of dataset is made of, found by name alone.

The datasets skip tracks with missing files; the check reports them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from openunmix.audio import AudioSource
from openunmix.data.finder import (
    ACCEPTED,
    audio_files,
    files_named,
    files_with,
    folded,
    is_visible,
    warn_unused,
)
from openunmix.data.tracks import MIXTURE, Track
from openunmix.errors import AudioFileError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def track_folders(root: Path, split: str) -> list[Path]:
    """Sorted track folders of a split, without hidden ones; AudioFileError if it is missing."""
    folder = root / split
    if not folder.is_dir():
        raise AudioFileError(f"{folder}: no such folder; --root needs a folder for each split")
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_visible(path))


def usable(tracks: Mapping[Path, T | str], folder: Path) -> list[T]:
    """Keep the usable tracks and log the reasons to skip the others; AudioFileError for none."""
    reasons = {path: reason for path, reason in tracks.items() if isinstance(reason, str)}
    for path, reason in reasons.items():
        logger.warning("skipped %s: %s", path, reason)
    kept = [track for track in tracks.values() if not isinstance(track, str)]
    if not kept:
        first = next((f"{path}: {reason}" for path, reason in reasons.items()), "it is empty")
        raise AudioFileError(
            f"{folder}: none of {len(tracks)} tracks can be used ({first}); check the dataset's "
            f"files and options; {ACCEPTED}"
        )
    return kept


def aligned_tracks(root: Path, split: str, input_file: str, output_file: str) -> list[Track]:
    """Folders with a file for the input of the network and one for its target; names or globs."""
    tracks = []
    for folder in track_folders(root, split):
        found = files_named(folder, [input_file, output_file])
        files = {name: AudioSource(path) for name, path in found.items()}
        missing = tuple(name for name in (input_file, output_file) if name not in files)
        target = files.get(output_file)
        sources = {Path(output_file).stem: target} if target else {}
        mixture = files.get(input_file)
        tracks.append(Track(folder.name, split, sources, mixture, folder, missing))
    return tracks


def source_tracks(root: Path, split: str, name: str, ext: str | None) -> list[Track]:
    """Files in the folder of a source, each a track of its own."""
    folder = root / split / name
    return [
        Track(path.stem, split, {name: AudioSource(path)}, path=path)
        for path in (files_with(folder, ext) if folder.is_dir() else [])
    ]


def fixed_tracks(root: Path, split: str, files: Sequence[str]) -> list[Track]:
    """Folders that all have the same stems."""
    tracks = []
    for folder in track_folders(root, split):
        found = files_named(folder, files)
        sources = {Path(name).stem: AudioSource(path) for name, path in found.items()}
        missing = tuple(name for name in files if name not in found)
        tracks.append(Track(folder.name, split, sources, _mixture(folder), folder, missing))
    return tracks


def variable_tracks(
    root: Path, split: str, target_file: str, ext: str | None, silence_missing: bool = False
) -> list[Track]:
    """Folders with any stems beside the target, which is named first; it may be missing."""
    tracks = []
    for folder in track_folders(root, split):
        target = files_named(folder, [target_file]).get(target_file)
        taken = {MIXTURE, folded(Path(target_file).stem)}
        files = [path for path in files_with(folder, ext) if path != target]
        stems = [path for path in files if folded(path.stem) not in taken]
        sources = {path.stem: AudioSource(path) for path in stems}
        missing: tuple[str, ...] = ()
        if target is not None:
            others = [path for path in files if folded(path.stem) == folded(target.stem)]
            warn_unused(target, others)
            sources = {Path(target_file).stem: AudioSource(target), **sources}
        elif not silence_missing:
            missing = (target_file,)
        if not sources and silence_missing:
            missing = ("audio file",)
        tracks.append(Track(folder.name, split, sources, _mixture(folder), folder, missing))
    return tracks


def musdb_tracks(database: Any, split: str | None, is_wav: bool) -> list[Track]:
    """Tracks that the package musdb has found."""

    def source_of(stem: Any) -> AudioSource:
        return AudioSource(Path(stem.path), None if is_wav else stem.stem_id)

    tracks = []
    for found in database.tracks:
        names = list(database.setup["sources"])
        stems = {name: source_of(found.sources[name]) for name in names if name in found.sources}
        missing = tuple(name for name in names if name not in stems)
        mixture, path = source_of(found), Path(found.path)
        tracks.append(Track(found.name, split or "", stems, mixture, path, missing))
    return tracks


def _mixture(folder: Path) -> AudioSource | None:
    """Return the mixture beside the stems, if any."""
    path = audio_files(folder, [MIXTURE]).get(MIXTURE)
    return AudioSource(path) if path else None
