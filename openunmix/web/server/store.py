"""The folder of a server: what survives a restart, and nothing that is not complete.

::

    <folder>/lock                     held by the server that uses the folder
    <folder>/jobs/<id>/job.json       the record
                      /upload         the file, as it was sent
                      /work/          results that are being made
                      /result/        results that are complete
    <folder>/jobs/.<anything>/        uploads on their way, and what is being removed

Folders get their names when they are complete, and records are replaced as a whole. The names of
all folders and files are made here or by the separation; none of them comes from a client.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from openunmix._files import replacing
from openunmix.web.server.job import Job, State

__all__ = ["FolderInUseError", "Store"]

logger = logging.getLogger(__name__)

_ID = re.compile("[0-9a-f]{32}")


class FolderInUseError(OSError):
    """Another server uses the folder."""


class Store:
    """The folder of one server.

    Parameters
    ----------
    folder : Path
        Made if need be, for the eyes of its owner alone.

    Raises
    ------
    FolderInUseError
        If another process has it.
    OSError
        If it cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._jobs = folder.absolute() / "jobs"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._jobs.mkdir(exist_ok=True, mode=0o700)
        self._lock = (folder / "lock").open("ab")
        if not _try_lock(self._lock):
            self._lock.close()
            raise FolderInUseError(
                f"{folder} is in use by another umx-serve; choose another --data"
            )

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.close()

    def upload(self, job: Job) -> Path:
        """Return where the file of a job is."""
        return self._jobs / job.id / "upload"

    def work(self, job: Job) -> Path:
        """Return where the results of a job are made."""
        return self._jobs / job.id / "work"

    def result(self, job: Job) -> Path:
        """Return where the results of a finished job are."""
        return self._jobs / job.id / "result"

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a path for a file on its way; it is removed unless a job was made of it."""
        folder = self._jobs / f".{secrets.token_hex(8)}"
        folder.mkdir()
        try:
            yield folder / "upload"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def admit(self, upload: Path, job: Job) -> None:
        """Make a job of a file that has arrived."""
        _write(upload.parent / "job.json", job)
        upload.parent.rename(self._jobs / job.id)

    def save(self, job: Job) -> None:
        """Replace the record of a job."""
        _write(self._jobs / job.id / "job.json", job)

    def publish(self, job: Job) -> None:
        """Make results that are complete those of the job."""
        self.work(job).rename(self.result(job))
        self.save(job)

    def drop_results(self, job: Job, upload: bool = True) -> None:
        """Remove everything but the record, and on request but the upload."""
        for folder in (self.work(job), self.result(job)):
            shutil.rmtree(folder, ignore_errors=True)
        if upload:
            with suppress(OSError):
                self.upload(job).unlink(missing_ok=True)

    def remove(self, job: Job) -> None:
        """Remove a job. What cannot be removed now, as it is being read, is removed later."""
        trash = self._jobs / f".{secrets.token_hex(8)}"
        folder = self._jobs / job.id
        try:
            folder.rename(trash)
        except FileNotFoundError:
            return
        except OSError:
            trash = folder
        shutil.rmtree(trash, ignore_errors=True)

    def load(self) -> list[Job]:
        """Return the jobs that are here, the oldest first, and tidy up after an interruption."""
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
        """Return the bytes of all that is here."""
        total = 0
        for folder, _, names in os.walk(self._jobs):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_size
                except OSError:  # removed in the meantime
                    continue
        return total

    def free(self) -> int:
        """Return the bytes that the disk has left."""
        return shutil.disk_usage(self._jobs).free


def _write(path: Path, job: Job) -> None:
    """Write a record; it is on the disk when this returns."""
    with replacing(path) as temporary, temporary.open("x", encoding="utf-8") as file:
        json.dump(job.to_json(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> Job | None:
    """Read a record; None, and a line in the log, if it cannot be read."""
    try:
        return Job.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is left alone, it is not a record of a job: %s", path.parent, error)
        return None


def _try_lock(file: IO[bytes]) -> bool:
    """Lock an open file unless another process has locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
