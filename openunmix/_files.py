"""Atomic replacement of files, temporary folders, hashes."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openunmix.errors import AudioFileError

_PREFIX, _SUFFIX = ".umx-", ".part"

# Seconds without a write after which a workspace counts as left by a process that was killed.
# Running ones write every few seconds, except that --exact may compute for hours before.
_STALE = 24 * 3600


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk of `folder`, which need not exist.

    Raises `AudioFileError` if the disk cannot be written to. Stale workspaces are removed.
    """
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    _remove_stale(above)
    try:
        with tempfile.TemporaryDirectory(
            prefix=_PREFIX, suffix=_SUFFIX, dir=above, ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
    except AudioFileError:
        raise
    except OSError as error:
        raise AudioFileError(f"{str(folder)!r} cannot be written: {error.strerror}") from error


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
