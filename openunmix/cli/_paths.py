"""Input files of a command, and folders of its outputs."""

from __future__ import annotations

import glob
import itertools
import logging
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from openunmix.audio import AUDIO_EXTENSIONS
from openunmix.predict.marks import MARK_NAME, is_input, is_moved_input, read_mark

logger = logging.getLogger(__name__)

_MOST_KINDS = 5  # of skipped files, that are named


def find_inputs(
    patterns: Iterable[str],
    outdir: Path | None = None,
    models: Iterable[str] = (),
    names: Iterable[str] = (),
) -> list[Path]:
    """Expand files, folders, and patterns such as ``*.mp3`` to unique files, in order.

    Outputs are left out of folders and patterns, so that a command can be repeated: those that a
    mark lists, and without a mark those called `names` where one of the `models` writes outputs of
    one of the files. A name that matches nothing is kept, to be reported as missing.
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
    marks = {path.parent: read_mark(path.parent) for path in found}
    unique: dict[str, Path] = {}
    for path in found:  # a file may have been given twice
        mark = marks[path.parent]
        is_output = (mark is not None and path.name in mark.outputs) or (
            path.stem in written and os.path.realpath(path.parent) in outputs
        )
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
    """Return the name of a track: ``song`` for ``song.mp3`` and for ``song.stem.mp4``.

    An extension has a letter and no space, unlike the end of ``Vol. 1``.
    """
    is_extension = re.fullmatch(r"\.\w*[^\W\d]\w*", path.suffix)
    name = path.stem.removesuffix(".stem") if is_extension else path.name
    return name if name.strip(".") else path.name


def output_folders(inputs: Sequence[Path], outdir: Path | None, model: str) -> list[Path]:
    """Return a folder of outputs for each input: ``song``, then ``song-2`` for the same name.

    An input keeps the folder that its mark says is its own; others never get a marked folder.
    """
    parent, suffix = (outdir, "") if outdir is not None else (Path(), f"_{model}")
    marked = [path.parent.name for path in sorted(parent.glob(f"*/{MARK_NAME}"))]
    of_track: dict[str, list[str]] = defaultdict(list)  # marked folders that may be a track's
    for folder in (name for name in marked if name.endswith(suffix)):
        track = folder.removesuffix(suffix)
        for name in {_key(track), _key(re.sub(r"-\d+$", "", track))}:
            of_track[name].append(folder)
    chosen: dict[Path, str] = {}
    own: set[str] = set()
    for is_own in (is_input, is_moved_input):
        for path in (path for path in inputs if path not in chosen):
            for folder in of_track[_key(track_name(path))]:
                if folder not in own and is_own(parent / folder, path):
                    chosen[path] = folder
                    own.add(folder)
                    break
    taken = {_key(folder) for folder in marked}
    for path in (path for path in inputs if path not in chosen):
        numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        folders = (f"{track_name(path)}{number}{suffix}" for number in numbers)
        chosen[path] = next(folder for folder in folders if _key(folder) not in taken)
        taken.add(_key(chosen[path]))
    return [parent / chosen[path] for path in inputs]


def _key(name: str) -> str:
    """Return what is equal for names that some disk does not tell apart."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return folded.rstrip(" .")


def _folder(name: str, outdir: Path | None, model: str) -> Path:
    """Return the folder of the outputs of a track: in `outdir`, or named after the model, too."""
    return outdir / name if outdir is not None else Path(f"{name}_{model}")
