"""Downloads of results: a zip archive streamed while it is made, a ``.stem.mp4`` made on demand."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

from openunmix.web.server.job import Job
from openunmix.web.server.store import Store
from openunmix.web.server.tasks import export
from openunmix.web.server.worker import Worker

_BLOCK = 1 << 20
_EXPORT_TIMEOUT = 1800.0  # seconds; an hour of music takes about five minutes


class _Buffer(bytearray):
    """File without a position, so that zipfile writes what can be streamed."""

    def write(self, data: bytes) -> int:
        """Append bytes."""
        self += data
        return len(data)

    def flush(self) -> None:
        """Do nothing; zipfile calls it."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self)
        self.clear()
        return taken


def zip_stream(files: dict[str, Path]) -> Iterator[bytes]:
    """Yield a zip archive of files by name, uncompressed: audio hardly compresses."""
    buffer = _Buffer()
    with zipfile.ZipFile(buffer, "w") as archive:  # type: ignore[call-overload]
        for name, path in files.items():
            entry = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    yield buffer.take()
    yield buffer.take()


class StemMP4Files:
    """The ``.stem.mp4`` files of jobs, made one after the other on the first request."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def get(self, job: Job) -> Path:
        """File of a finished job; TaskError if it cannot be made, as after removal of the job."""
        result = self._store.result(job)
        path = result / "all.stem.mp4"
        with self._lock:
            if path.exists():
                return path
            worker = Worker(export)
            request = {
                "upload": str(self._store.upload(job)),
                "name": job.name,
                "stems": {name: str(result / file) for name, file in job.files.items()},
                "path": str(path),
            }
            try:
                worker.run(request, timeout=_EXPORT_TIMEOUT)
            finally:
                worker.close()
        return path
