"""Files on disk: replaced as a whole or not at all, and recognised by their hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "sha256_of", "temporary_path"]

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
