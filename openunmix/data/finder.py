"""Audio files in folders, found by name: in any case, with any extension that is read.

What is no audio by its name is passed over: covers, texts, hidden files such as macOS's
``._vocals.wav``, links that lead nowhere.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TypeVar

from openunmix.audio import AUDIO_EXTENSIONS

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SHOWN = 6  # names in a message
#: What is accepted, for messages.
ACCEPTED = (
    ".wav .flac .aiff .mp3 .m4a .ogg .opus are read, in any case, and "
    f"{len(AUDIO_EXTENSIONS) - 7} more extensions of audio and video"
)


def is_visible(path: Path) -> bool:
    """Whether the file is not hidden, that is, its name does not start with a dot."""
    return not path.name.startswith(".")


def is_audio(path: Path) -> bool:
    """Whether a path is a visible file with the extension of an audio format."""
    return path.suffix.lower() in AUDIO_EXTENSIONS and is_visible(path) and path.is_file()


def folded(name: str) -> str:
    """Return the form in which names are compared: lower case, accents composed (macOS: not)."""
    return unicodedata.normalize("NFC", name).lower()


def respelled(named: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    """Spell names as wanted where nothing but case or Unicode form differs."""
    wanted = {folded(name): name for name in names}
    return {wanted.get(folded(name), name): value for name, value in named.items()}


def audio_files(folder: Path, names: Iterable[str] = ()) -> dict[str, Path]:
    """Audio files in a folder, by their names without extension, spelled as in ``names``.

    Of several with one name the format that lost least is used, with a warning; with ``names``,
    those that differ in case only have one name.
    """
    wanted = list(names)
    found: dict[str, list[Path]] = defaultdict(list)
    for path in filter(is_audio, folder.iterdir()):
        found[folded(path.stem) if wanted else path.stem].append(path)
    chosen = {}
    for _, paths in sorted(found.items()):
        first, *others = sorted(paths, key=_preference)
        warn_unused(first, others)
        chosen[first.stem] = first
    return respelled(chosen, wanted)


def files_below(root: Path) -> list[Path]:
    """Sorted audio files in a folder and in all folders below it that are not hidden."""
    folders = [root]
    for path in root.rglob("*"):
        if path.is_dir() and all(map(is_visible, (path, *path.relative_to(root).parents))):
            folders.append(path)
    return sorted(file for folder in folders for file in audio_files(folder).values())


def files_with(folder: Path, ext: str | None) -> list[Path]:
    """Sorted audio files in a folder whose names end in ``ext``, in any case; None for any."""
    files = audio_files(folder)
    if not ext:
        return sorted(files.values())
    found = [
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(ext.lower()) and is_visible(path) and path.is_file()
    ]
    stems = {folded(path.stem) for path in found}
    others = sorted(path.name for path in files.values() if folded(path.stem) not in stems)
    if others:
        warn_once(f"{folder}: {_listed(others)} passed over, as the extension given is {ext}")
    return sorted(found)


def matching(folder: Path, name: str) -> list[Path]:
    """Files of a name or glob, which may lead to folders below; the best match first.

    The name itself is the best, then come other case and other extensions of audio.
    """
    place, pattern = Path(name).parent, Path(name).name
    suffix = Path(pattern).suffix
    stem = pattern.removesuffix(suffix) if suffix.lower() in AUDIO_EXTENSIONS else pattern

    def distance(path: Path) -> int | None:
        if path.name == pattern:
            return 0
        known = path.suffix.lower() in AUDIO_EXTENSIONS
        if fnmatchcase(path.name, pattern) and (known or path.suffix == suffix):
            return 1
        alike = folded(path.stem) == folded(stem) or fnmatchcase(folded(path.stem), folded(stem))
        return 2 if known and alike else None

    paths = [path for path in folder.glob(str(place / "*")) if is_visible(path) and path.is_file()]
    found = [(near, path) for path in paths if (near := distance(path)) is not None]
    return [path for _, path in sorted(found, key=lambda pair: (pair[0], *_preference(pair[1])))]


def files_named(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Best match of each name or glob, if there is one; no file is that of two names."""
    found = {name: paths for name in names if (paths := matching(folder, name))}
    best = [paths[0] for paths in found.values()]
    for first, *others in found.values():
        warn_unused(first, [path for path in others if path not in best])
    return {
        name: first
        for name, (first, *_) in found.items()
        if best.count(first) == 1 or first.name == Path(name).name
    }


def contents(folder: Path) -> str:
    """Content of a folder, for messages."""
    names = [path.name + "/" * path.is_dir() for path in folder.iterdir() if is_visible(path)]
    return f"there is {_listed(sorted(names))}" if names else "there is nothing in it"


@cache
def warn_once(message: str) -> None:
    """Log a warning, but not again."""
    logger.warning(message)


def warn_unused(used: Path, others: Iterable[Path]) -> None:
    """Warn of files that are not used, as another one has the same name."""
    names = [path.name for path in others]
    if names:
        warn_once(f"{used.parent}: {used.name} is used, not {_listed(names)}; keep one of them")


def _preference(path: Path) -> tuple[int, str]:
    """Key that sorts files of one name by format, the one that lost least first."""
    known = path.suffix.lower() in AUDIO_EXTENSIONS
    return -AUDIO_EXTENSIONS.index(path.suffix.lower()) if known else 1, path.name


def _listed(names: list[str]) -> str:
    """List the first few names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
