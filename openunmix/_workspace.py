"""A temporary folder beside the outputs, to rename them from when they are complete."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openunmix.errors import AudioFileError

__all__ = ["workspace"]

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
