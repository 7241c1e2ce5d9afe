"""Files on disk: replaced as a whole or not at all, and recognised by their hash."""

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

__all__ = ["replacing", "sha256_of", "temporary_path", "workspace"]

_PREFIX, _SUFFIX = ".umx-", ".part"

# Seconds without a write after which a folder is of a process that was killed. A running one
# writes every few seconds; only --exact may compute for hours before it does.
_STALE = 24 * 3600


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Give a temporary folder on one disk with the folder of the outputs.

    What processes that were killed have left there is removed.

    Parameters
    ----------
    folder : Path
        Where the outputs go; it need not exist.

    Yields
    ------
    Path
        The temporary folder, which is removed at the end, whatever happens.

    Raises
    ------
    AudioFileError
        If nothing can be written there, or the disk fails in the block.
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
    """Remove the temporary folders into which nothing has been written for long."""
    for left in above.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            last = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        except OSError:  # no folder, or its process has just removed it
            continue
        if time.time() - last > _STALE:
            shutil.rmtree(left, ignore_errors=True)


_READ_SIZE = 1 << 20


def temporary_path(path: Path) -> Path:
    """Return a path beside another, to write to before taking its name.

    Parameters
    ----------
    path : Path
        The file to write.

    Returns
    -------
    Path
        A hidden name in the same folder with the same suffix, for nobody else to use. It is cut
        short: with the random part it must stay below the 255 bytes that a name may have.
    """
    return path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block succeeds.

    A reader sees the old file or the new one, never a part; after an error the old one stays.

    Parameters
    ----------
    path : Path
        The file to write. Its folder must exist.

    Yields
    ------
    Path
        A path that does not exist yet, with the same suffix as ``path``.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits in lower case.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()
