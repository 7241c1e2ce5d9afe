"""The folder of a server: survives restarts, and holds only complete records and results.

::

    <folder>/lock                     held by the server that uses the folder
    <folder>/jobs/<id>/job.json       the record
                      /upload         the file as it was sent
                      /work/          results in progress
                      /result/        complete results
    <folder>/jobs/.<anything>/        uploads in progress, and what is being removed

Folders are renamed when they are complete, records are replaced atomically. No name of a folder
or file comes from a client.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
from pydantic import TypeAdapter

from openunmix._files import replacing
from openunmix.web.server.job import Job, State

logger = logging.getLogger(__name__)

_ID = re.compile("[0-9a-f]{32}")
_RECORD = TypeAdapter(Job)


class FolderInUseError(OSError):
    """Another server uses the folder."""


class Store:
    """The folder of one server, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._jobs = folder.absolute() / "jobs"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._jobs.mkdir(exist_ok=True, mode=0o700)
        # Not thread-local: the thread that closes the store need not be the one that opened it.
        self._lock = filelock.FileLock(folder / "lock", blocking=False, thread_local=False)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise FolderInUseError(
                f"{folder} is in use by another umx-serve; choose another --data"
            ) from error

    def close(self) -> None:
        """Release the folder."""
        self._lock.release()

    def upload(self, job: Job) -> Path:
        """Path of the uploaded file."""
        return self._jobs / job.id / "upload"

    def work(self, job: Job) -> Path:
        """Folder of results in progress."""
        return self._jobs / job.id / "work"

    def result(self, job: Job) -> Path:
        """Folder of complete results."""
        return self._jobs / job.id / "result"

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Path for an upload in progress; it is removed unless it was admitted."""
        folder = self._temporary()
        folder.mkdir()
        try:
            yield folder / "upload"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _temporary(self) -> Path:
        """Path of a new folder that the next start removes."""
        return self._jobs / f".{secrets.token_hex(8)}"

    def admit(self, upload: Path, job: Job) -> None:
        """Turn a complete upload into a job."""
        _write(upload.parent / "job.json", job)
        upload.parent.rename(self._jobs / job.id)

    def save(self, job: Job) -> None:
        """Replace the record of a job."""
        _write(self._jobs / job.id / "job.json", job)

    def publish(self, job: Job) -> None:
        """Turn the results in progress into the results of a job."""
        self.work(job).rename(self.result(job))
        self.save(job)

    def drop_results(self, job: Job, upload: bool = True) -> None:
        """Remove the results of a job and, on request, the upload."""
        for folder in (self.work(job), self.result(job)):
            shutil.rmtree(folder, ignore_errors=True)
        if upload:
            with suppress(OSError):
                self.upload(job).unlink(missing_ok=True)

    def remove(self, job: Job) -> None:
        """Remove a job; files that are being read on Windows are removed by the next start."""
        trash, folder = self._temporary(), self._jobs / job.id
        try:
            folder.rename(trash)
        except FileNotFoundError:
            return
        except OSError:
            trash = folder
        shutil.rmtree(trash, ignore_errors=True)

    def load(self) -> list[Job]:
        """Jobs in the order of arrival, after removing what an interruption left."""
        jobs = []
        for folder in self._jobs.iterdir():
            if not _ID.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
            elif (job := _read(folder / "job.json")) is not None and job.id == folder.name:
                jobs.append(job)
        for job in jobs:
            if job.state is not State.DONE:
                self.drop_results(job, upload=job.state is not State.WAITING)
        return sorted(jobs, key=lambda job: job.created)

    def used(self) -> int:
        """Bytes of all uploads and results."""
        total = 0
        for folder, _, names in os.walk(self._jobs):
            for name in names:
                with suppress(OSError):  # removed in the meantime
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def free(self) -> int:
        """Free bytes of the disk."""
        return shutil.disk_usage(self._jobs).free


def _write(path: Path, job: Job) -> None:
    """Write a record and wait until it is on disk."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(_RECORD.dump_json(job, indent=2))
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> Job | None:
    """Read a record; None, and a warning in the log, if it is not one."""
    try:
        return _RECORD.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        logger.warning("%s is ignored, it is not a record of a job: %s", path.parent, error)
        return None
