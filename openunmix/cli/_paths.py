"""Input files of a command, and folders of its outputs."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from openunmix.audio import AUDIO_EXTENSIONS


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
    # The folders into which any of the models writes its outputs of the inputs.
    tracks = {track_name(path) for path in found}
    outputs = {
        os.path.realpath(_folder(track, outdir, model)) for track in tracks for model in models
    }
    unique: dict[str, Path] = {}
    for path in found:  # a file may have been given twice
        if path in named or os.path.realpath(path.parent) not in outputs:
            unique.setdefault(os.path.realpath(path), path)
    return list(unique.values())


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
        track = track_name(path)
        numbered = (f"{track}-{number}" for number in itertools.count(2))
        candidates = itertools.chain([track], numbered)
        name = next(name for name in candidates if name.casefold() not in taken)
        taken.add(name.casefold())
        folders.append(_folder(name, outdir, model))
    return folders


def _folder(name: str, outdir: Path | None, model: str) -> Path:
    """Return the folder of the outputs of a track: in `outdir`, or named after the model, too."""
    return outdir / name if outdir is not None else Path(f"{name}_{model}")
