"""Atomic replacement of files, temporary folders, hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from openunmix.errors import AudioFileError, OpenUnmixError

_PREFIX, _SUFFIX = ".umx-", ".part"

# Seconds without a write after which a workspace counts as left by a process that was killed.
# Running ones write every few seconds, except that --exact may compute for hours before.
_STALE = 24 * 3600


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk of `folder`, which need not exist.

    Raises `AudioFileError` if the disk cannot be written to, or `folder` cannot be made. Stale
    workspaces are removed.
    """
    paths = (folder, *folder.absolute().parents)
    above = next(parent for parent in paths if os.path.lexists(parent))
    if above.is_symlink() and not above.exists():
        raise AudioFileError(f"{str(folder)!r} cannot be written: {str(above)!r} is a broken link")
    _remove_stale(above)
    try:
        with _temporary_folder(above) as work:
            missing = folder.absolute().parts[len(above.absolute().parts) :]
            trial = work.joinpath("trial", *(name for name in missing if name != ".."))
            trial.mkdir(parents=True)  # raises for a name that is too long
            yield work
    except OpenUnmixError:  # of what is done in the workspace
        raise
    except OSError as error:
        raise AudioFileError(f"{str(folder)!r} cannot be written: {error.strerror}") from error


@contextmanager
def _temporary_folder(above: Path) -> Iterator[Path]:
    """Yield a new hidden folder, which is removed whatever happens."""
    work = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=above))
    try:
        yield work
    finally:
        try:
            shutil.rmtree(work, ignore_errors=True)
        except KeyboardInterrupt:  # a signal at the very end
            shutil.rmtree(work, ignore_errors=True)
            raise


def replace_all(files: Mapping[Path, Path], work: Path) -> None:
    """Give files, the values, their names, the keys: all of them, or none if one fails.

    `work` is a folder on the same disk, which holds what they replace until all have succeeded.
    """
    replaced: dict[Path, Path] = {}
    renamed: list[Path] = []
    try:
        for path, temporary in files.items():
            if os.path.lexists(path):
                replaced[path] = work / f"replaced-{len(replaced)}"
                os.replace(path, replaced[path])
            renamed.append(path)
            os.replace(temporary, path)
    except BaseException:
        for path in renamed:
            path.unlink(missing_ok=True)
        for path, before in replaced.items():
            if os.path.lexists(before):
                os.replace(before, path)
        raise


def _remove_stale(above: Path) -> None:
    """Remove the workspaces of processes that were killed."""
    for stale in above.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            last = max(path.stat().st_mtime for path in (stale, *stale.iterdir()))
        except OSError:  # not a folder, or its process has just removed it
            continue
        if time.time() - last > _STALE:
            shutil.rmtree(stale, ignore_errors=True)


def temporary_path(path: Path) -> Path:
    """Return a unique hidden path beside another, with its suffix, at most 255 bytes long."""
    return path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it atomically if the block succeeds."""
    temporary = temporary_path(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
