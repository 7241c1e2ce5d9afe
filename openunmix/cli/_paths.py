"""Which files a command works on, and where their outputs go. Pure functions of names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from openunmix.audio import AUDIO_EXTENSIONS

__all__ = ["find_inputs", "output_folders", "song_name"]


def find_inputs(
    patterns: Iterable[str], outdir: Path | None = None, models: Iterable[str] = ()
) -> list[Path]:
    """Expand what a user gave: files, folders, and patterns such as ``*.mp3``.

    Parameters
    ----------
    patterns : iterable of str
        What was given. A path that exists is itself, even with a star in its name.
    outdir : Path, optional
        Where outputs go, see :func:`output_folders`.
    models : iterable of str
        Names of models whose outputs may be there. What they made of one of the files is left out
        of folders and patterns, so that the same command can be given again.

    Returns
    -------
    list of Path
        Files, each once, in order; a name that matches nothing stays, to be reported as missing.
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
    for path in found:  # the same file may have been given in two ways
        if path in named or os.path.realpath(path.parent) not in outputs:
            unique.setdefault(os.path.realpath(path), path)
    return list(unique.values())


def _possible_outputs(
    inputs: Iterable[Path], outdir: Path | None, models: Iterable[str]
) -> set[str]:
    """Return the folders into which any of the models puts what it makes of the inputs."""
    songs = {song_name(path) for path in inputs}
    folders = [_folder(song, outdir, model) for song in songs for model in models]
    return {os.path.realpath(folder) for folder in folders}


def _audio_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder and below, by their extensions; the folder if none."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return files or [folder]


def song_name(path: Path) -> str:
    """Name of a song after its file: ``song`` for ``song.mp3`` and for ``song.stem.mp4``."""
    name = path.stem.removesuffix(".stem")
    return name if name.strip(".") else path.name


def output_folders(inputs: Sequence[Path], outdir: Path | None, model: str) -> list[Path]:
    """Folder of the outputs of each input; no two are the same.

    Parameters
    ----------
    inputs : sequence of Path
        The inputs.
    outdir : Path, optional
        Where folders named after songs are made. Otherwise they are made in the working
        directory, named after song and model.
    model : str
        Name of the model.

    Returns
    -------
    list of Path
        A folder per input; ``song-2`` if there was a ``song`` before it.
    """
    taken: set[str] = set()
    folders = []
    for path in inputs:
        name, number = song_name(path), 1
        while _numbered(name, number).casefold() in taken:
            number += 1
        name = _numbered(name, number)
        taken.add(name.casefold())
        folders.append(_folder(name, outdir, model))
    return folders


def _folder(name: str, outdir: Path | None, model: str) -> Path:
    """Return the folder of the outputs of a song."""
    return outdir / name if outdir is not None else Path(f"{name}_{model}")


def _numbered(name: str, number: int) -> str:
    """Return the name, with its number from the second on."""
    return name if number == 1 else f"{name}-{number}"
