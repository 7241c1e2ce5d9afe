"""Folders of tracks and files, as all layouts have them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from openunmix.errors import AudioFileError

__all__ = ["files_of", "track_folders", "usable"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


def track_folders(root: Path, split: str) -> list[Path]:
    """List the track folders of a split.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    split : str
        A folder in it.

    Returns
    -------
    list of Path
        The folders in there, sorted; hidden ones are left out.

    Raises
    ------
    AudioFileError
        If there is no such folder.
    """
    folder = root / split
    if not folder.is_dir():
        raise AudioFileError(f"{folder}: no such folder; --root needs a folder for each split")
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path))


def files_of(folder: Path, pattern: str) -> list[Path]:
    """List the files in a folder that match a pattern.

    Parameters
    ----------
    folder : Path
        Where to look.
    pattern : str
        A file name or a glob.

    Returns
    -------
    list of Path
        The files, sorted; hidden ones are left out.
    """
    return sorted(path for path in folder.glob(pattern) if path.is_file() and _is_visible(path))


def _is_visible(path: Path) -> bool:
    """Whether the name does not start with a dot, as those of programs' own files do."""
    return not path.name.startswith(".")


def usable(tracks: Mapping[Path, T | str], folder: Path) -> list[T]:
    """Keep the tracks that can be used, and say why the others cannot.

    Parameters
    ----------
    tracks : mapping of Path to object or str
        By folder or file, what the data set needs to know of a track, or the reason to skip it.
    folder : Path
        Where they are, for messages.

    Returns
    -------
    list
        What there is to know, without the reasons.

    Raises
    ------
    AudioFileError
        If there is no track that can be used.
    """
    reasons = {path: reason for path, reason in tracks.items() if isinstance(reason, str)}
    for path, reason in reasons.items():
        logger.warning("skipped %s: %s", path, reason)
    kept = [track for track in tracks.values() if not isinstance(track, str)]
    if not kept:
        first = next((f"{path}: {reason}" for path, reason in reasons.items()), "it is empty")
        raise AudioFileError(
            f"{folder}: none of {len(tracks)} tracks can be used ({first}); check the data set's "
            "files and options"
        )
    return kept
