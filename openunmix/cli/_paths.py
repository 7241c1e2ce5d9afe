"""Input files of a command, and folders of its outputs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from openunmix.audio import AUDIO_EXTENSIONS

__all__ = ["find_inputs", "output_folders", "track_name"]


def find_inputs(
    patterns: Iterable[str], outdir: Path | None = None, models: Iterable[str] = ()
) -> list[Path]:
    """Expand files, folders, and patterns such as ``*.mp3`` to unique files, in order.

    Outputs that one of the `models` made of one of the files are left out of folders and
    patterns, so that a command can be repeated. A name that matches nothing is kept, to be
    reported as missing.
    """
    named: list[Path] = []
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if os.path.isdir(pattern):
            found += _audio_files(path)
        elif os.path.exists(pattern) or not glob.has_magic(pattern):
            named.append(path)
            found.append(path)
        else:
            matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
            found += [match for match in matches if match.is_file()] or [path]
    outputs = _possible_outputs(found, outdir, models)
    unique: dict[str, Path] = {}
    for path in found:  # a file may have been given twice
        if path in named or os.path.realpath(path.parent) not in outputs:
            unique.setdefault(os.path.realpath(path), path)
    return list(unique.values())


def _possible_outputs(
    inputs: Iterable[Path], outdir: Path | None, models: Iterable[str]
) -> set[str]:
    """Return the folders into which any of the models writes its outputs of the inputs."""
    tracks = {track_name(path) for path in inputs}
    folders = [_folder(track, outdir, model) for track in tracks for model in models]
    return {os.path.realpath(folder) for folder in folders}


def _audio_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder and its subfolders, or else the folder."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return files or [folder]


def track_name(path: Path) -> str:
    """Return the name of a track: ``song`` for ``song.mp3`` and for ``song.stem.mp4``."""
    name = path.stem.removesuffix(".stem")
    return name if name.strip(".") else path.name


def output_folders(inputs: Sequence[Path], outdir: Path | None, model: str) -> list[Path]:
    """Return a folder of outputs for each input: ``song``, then ``song-2`` for the same name."""
    taken: set[str] = set()
    folders = []
    for path in inputs:
        name, number = track_name(path), 1
        while _numbered(name, number).casefold() in taken:
            number += 1
        name = _numbered(name, number)
        taken.add(name.casefold())
        folders.append(_folder(name, outdir, model))
    return folders


def _folder(name: str, outdir: Path | None, model: str) -> Path:
    """Return the folder of the outputs of a track: in `outdir`, or named after the model, too."""
    return outdir / name if outdir is not None else Path(f"{name}_{model}")


def _numbered(name: str, number: int) -> str:
    """Return the name, numbered from the second on."""
    return name if number == 1 else f"{name}-{number}"
