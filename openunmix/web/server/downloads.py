"""Results as downloads: an archive made while it is sent, a file with all stems made on demand."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

from openunmix.web.server.job import Job
from openunmix.web.server.store import Store
from openunmix.web.server.tasks import export
from openunmix.web.server.worker import Worker

__all__ = ["StemFiles", "archive"]

_BLOCK = 1 << 20


class _Stream(io.RawIOBase):
    """What is written to it can be taken from it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: object) -> int:
        """Keep a copy of bytes."""
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def archive(files: dict[str, Path]) -> Iterator[bytes]:
    """Yield a zip archive, part by part; it is nowhere as a whole.

    Parameters
    ----------
    files : dict of str to Path
        The files by their names in the archive. They are not compressed: audio hardly can be.

    Yields
    ------
    bytes
        The next part.
    """
    stream = _Stream()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    yield stream.take()
    yield stream.take()


class StemFiles:
    """The ``.stem.mp4`` of jobs, made one after the other when they are first asked for.

    Parameters
    ----------
    store : Store
        Where the results are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def get(self, job: Job) -> Path:
        """Return the file of a finished job.

        Raises
        ------
        TaskError
            If it cannot be made.
        OSError
            If the job has been removed.
        """
        result = self._store.result(job)
        path = result / "all.stem.mp4"
        with self._lock:
            if not path.exists():
                self._make(job, path)
        return path

    def _make(self, job: Job, path: Path) -> None:
        """Make the file, in a process that ends with it."""
        worker = Worker(export)
        try:
            worker.run(
                {
                    "upload": str(self._store.upload(job)),
                    "name": job.name,
                    "stems": {name: str(path.parent / file) for name, file in job.files.items()},
                    "path": str(path),
                },
                patience=_PATIENCE,
            )
        finally:
            worker.close()


# Seconds for one file; an hour of music takes about five minutes.
_PATIENCE = 1800.0
