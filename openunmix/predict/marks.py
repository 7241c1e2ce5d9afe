"""Marks beside outputs: of which input, by which model and settings they were made.

A mark is the file ``.umx.json`` in a folder of outputs. It is written last, and only what it lists,
with the size that it lists, counts as done. It is about content, so that trees can be moved and
copied: the input is named relative to the folder, and found by its hash where it has moved.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from openunmix._files import replacing, sha256_of

MARK_NAME = ".umx.json"


@dataclass(frozen=True)
class Mark:
    """The outputs in a folder and their origin."""

    input: str  # path, relative to the folder
    bytes: int  # of the input
    modified: int  # time of the input, in ns
    sha256: str = ""  # of the input
    #: Size in bytes of each output, and the hash of the settings it was made with.
    outputs: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    #: Settings and results of the last run, for people and other programs.
    made: Mapping[str, Any] = field(default_factory=dict)


def read_mark(folder: Path) -> Mark | None:
    """Mark of a folder; None if there is none, or one that cannot be read."""
    try:
        mark = Mark(**json.loads((folder / MARK_NAME).read_text("utf-8")))
        outputs = {name: (int(size), str(made)) for name, (size, made) in mark.outputs.items()}
        return replace(mark, input=os.fspath(mark.input), outputs=outputs)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Hash of everything but the input that changes the outputs: weights, options, excerpt."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def describe_input(path: Path, folder: Path) -> Mark:
    """Mark without outputs, to be taken before an input is read; OSError if it is not there."""
    status = path.stat()
    place = os.path.join(os.path.realpath(path.parent), path.name)
    try:
        relative = os.path.relpath(place, os.path.realpath(folder))
    except ValueError:  # another drive
        relative = place
    return Mark(Path(relative).as_posix(), status.st_size, status.st_mtime_ns)


def write_mark(
    folder: Path,
    path: Path,
    before: Mark,
    outputs: Iterable[str],
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
) -> None:
    """Record complete outputs; OSError if the input has changed since it was described."""
    if describe_input(path, folder) != before:
        raise OSError(f"{str(path)!r} changed while it was separated; separate it again")
    digest, key = sha256_of(path), settings_hash(settings)
    older = read_mark(folder)
    listed = dict(older.outputs) if older and older.sha256 == digest else {}
    listed |= {name: ((folder / name).stat().st_size, key) for name in outputs}
    made = {**results, "settings": dict(settings)}
    _write(folder, replace(before, sha256=digest, outputs=listed, made=made))


def forget_outputs(folder: Path, outputs: Iterable[str]) -> None:
    """Remove outputs from the mark, before they are replaced."""
    mark = read_mark(folder)
    if mark is not None and not set(outputs).isdisjoint(mark.outputs):
        kept = {name: entry for name, entry in mark.outputs.items() if name not in set(outputs)}
        _write(folder, replace(mark, outputs=kept))


def _write(folder: Path, mark: Mark) -> None:
    """Write a mark atomically."""
    with replacing(folder / MARK_NAME) as temporary:
        temporary.write_text(json.dumps(asdict(mark), indent=1), "utf-8")


def is_done(folder: Path, path: Path, outputs: Iterable[str], settings: Mapping[str, Any]) -> bool:
    """Whether a folder holds these outputs of this input, complete, with these settings."""
    mark = read_mark(folder)
    if mark is None:
        return False
    key = settings_hash(settings)
    with suppress(OSError):
        sizes = {name: ((folder / name).stat().st_size, key) for name in outputs}
        if all(mark.outputs.get(name) == entry for name, entry in sizes.items()):
            unchanged = replace(mark, sha256="", outputs={}, made={}) == describe_input(
                path, folder
            )
            return unchanged or _has_content(mark, path)
    return False


def is_input(folder: Path, path: Path) -> bool:
    """Whether a file is the input of a folder, where its mark says that is."""
    mark = read_mark(folder)
    with suppress(OSError, ValueError):
        return mark is not None and os.path.samefile(folder / mark.input, path)
    return False


def is_moved_input(folder: Path, path: Path) -> bool:
    """Whether a file has the content of the input of a folder, which is elsewhere now."""
    mark = read_mark(folder)
    if mark is None or (folder / mark.input).exists():
        return False
    with suppress(OSError):
        return _has_content(mark, path)
    return False


def _has_content(mark: Mark, path: Path) -> bool:
    """Whether a file is the input of a mark byte for byte."""
    return path.stat().st_size == mark.bytes and sha256_of(path) == mark.sha256
