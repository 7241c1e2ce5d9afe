"""Input files of a command, and folders of its outputs."""

from __future__ import annotations

import glob
import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from openunmix.audio import AUDIO_EXTENSIONS

logger = logging.getLogger(__name__)

_MOST_KINDS = 5  # of skipped files, that are named


def find_inputs(
    patterns: Iterable[str],
    outdir: Path | None = None,
    models: Iterable[str] = (),
    names: Iterable[str] = (),
) -> list[Path]:
    """Expand files, folders, and patterns such as ``*.mp3`` to unique files, in order.

    Outputs called `names` that one of the `models` made of one of the files are left out of
    folders and patterns, so that a command can be repeated. A name that matches nothing is kept,
    to be reported as missing.
    """
    named: list[Path] = []
    found: list[Path] = []
    for pattern in map(_expand_home, patterns):
        path = Path(pattern)
        if os.path.isdir(pattern):
            found += _audio_files(path) or [path]
        elif os.path.exists(pattern) or not glob.has_magic(pattern):
            named.append(path)
            found.append(path)
        else:
            matches = _matches(pattern)
            files = ([match] if match.is_file() else _audio_files(match) for match in matches)
            found += list(itertools.chain(*files)) or [path]
    # The folders into which any of the models writes its outputs of the inputs.
    tracks = {track_name(path) for path in found}
    outputs = {
        os.path.realpath(_folder(track, outdir, model)) for track in tracks for model in models
    }
    written = set(names)
    unique: dict[str, Path] = {}
    for path in found:  # a file may have been given twice
        is_output = path.stem in written and os.path.realpath(path.parent) in outputs
        if path in named or not is_output:
            unique.setdefault(os.path.realpath(path), path)
    return list(unique.values())


def _expand_home(pattern: str) -> str:
    """Replace the ``~`` that a shell left because it was quoted."""
    return pattern if os.path.lexists(pattern) else os.path.expanduser(pattern)


def _matches(pattern: str) -> list[Path]:
    """Files and folders that match a pattern.

    What exists is no pattern, ``live [2020]`` in ``live [2020]/*.wav``; and brackets are taken
    literally if nothing matches otherwise.
    """
    parts = Path(pattern).parts
    exists = [os.path.lexists(Path(*parts[:count])) for count in range(len(parts))]
    above, below = parts[: exists.count(True) - 1], parts[exists.count(True) - 1 :]
    for wildcards in (below, [part.replace("[", "[[]") for part in below]):
        attempt = os.path.join(glob.escape(os.path.join("", *above)), *wildcards)
        if matches := sorted(glob.glob(attempt, recursive=True)):
            return [Path(match) for match in matches]
    return []


def _audio_files(folder: Path) -> list[Path]:
    """Audio files in a folder and its subfolders; the number of other files is logged."""
    files: list[Path] = []
    others: Counter[str] = Counter()
    # Links may lead in circles, and to all of the disk.
    visited = {str(above) for above in Path(os.path.realpath(folder)).parents}
    for name, folders, names in os.walk(folder, onerror=_warn_unreadable, followlinks=True):
        if (real := os.path.realpath(name)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(below for below in folders if not below.startswith("."))
        for path in (Path(name, file) for file in names if not file.startswith(".")):
            if path.suffix.lower() in AUDIO_EXTENSIONS:
                files.append(path)
            else:
                others[path.suffix.lower() or "without extension"] += 1
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(_MOST_KINDS))
        kinds += ", ..." if len(others) > _MOST_KINDS else ""
        logger.warning(
            "%r: files of other kinds skipped: %s; name a file to try it", str(folder), kinds
        )
    return sorted(files)


def _warn_unreadable(error: OSError) -> None:
    """Log that a folder cannot be searched."""
    logger.warning("%r cannot be searched: %s", error.filename, error.strerror)


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
