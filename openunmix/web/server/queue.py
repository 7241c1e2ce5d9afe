"""The queue: takes jobs on, does one after the other, and remembers them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from openunmix.web.server.events import Changes
from openunmix.web.server.job import Job, Progress, Speeds, State
from openunmix.web.server.settings import Settings
from openunmix.web.server.store import Store
from openunmix.web.server.tasks import inspect, separate
from openunmix.web.server.worker import DiskFullError, Task, TaskError, Worker

__all__ = ["JobView", "Queue", "QueueFullError"]

logger = logging.getLogger(__name__)

# Seconds that a file may take to tell what it is, and seconds between looks for old results.
_INSPECTION = 30.0
_ROUND = 60.0

_INTERRUPTED = "interrupted: the server ended while it worked on this file; send it again"


class QueueFullError(Exception):
    """As many jobs wait as are allowed."""


class JobView(NamedTuple):
    """A job as of now.

    Attributes
    ----------
    job : Job
        What is on record.
    progress : Progress or None
        How far it is, if it is running.
    position : int or None
        How many are to be done before it, if it waits.
    left : float or None
        Estimated seconds until it is done.
    """

    job: Job
    progress: Progress | None
    position: int | None
    left: float | None


class Queue:
    """The jobs of a server.

    All methods may be called by any thread.

    Parameters
    ----------
    settings : Settings
        Folders and limits.
    source : callable
        What to load for the model that a job asks for.
    task : callable
        What separates a file, see :func:`openunmix.web.server.tasks.separate`.
    """

    def __init__(
        self, settings: Settings, source: Callable[[str | None], str | None], task: Task = separate
    ) -> None:
        self.settings = settings
        self._source = source
        self.changes = Changes()
        self.store = Store(settings.folder)
        self._separator = Worker(task)
        self._inspector = Worker(inspect)
        self._inspecting = threading.Lock()
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._jobs: dict[str, Job] = {}
        self._arriving = 0
        self._running: str | None = None
        self._progress = Progress()
        self._cancelled = threading.Event()  # by removal of the running job, or the end
        self._speeds: dict[str | None, Speeds] = {}  # of the last job of each model
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take up what is on disk, and begin to work."""
        for job in self.store.load():
            self._jobs[job.id] = job
            if job.state is State.RUNNING:
                self._record(job.failed(_INTERRUPTED))
        for work in (self._work, self._tidy):
            thread = threading.Thread(target=work, name=f"umx-serve {work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End all work; what was running waits for the next start."""
        with self._lock:
            self._stopping = True
            self._cancelled.set()
            self._separator.kill()
            self._news.notify_all()
        self.changes.close()
        for thread in self._threads:
            thread.join()
        self._separator.close()
        with self._inspecting:
            self._inspector.close()
        self.store.close()

    def views(self) -> list[JobView]:
        """Return all jobs, the oldest first."""
        with self._lock:
            return [self._view(job) for job in self._jobs.values()]

    def view(self, job_id: str) -> JobView | None:
        """Return one job, None if there is none of that id."""
        with self._lock:
            job = self._jobs.get(job_id)
            return None if job is None else self._view(job)

    def _view(self, job: Job) -> JobView:
        """Return a job as of now."""
        if job.state is State.WAITING:
            before = self._before(job)
            times = [self._left(other) for other in [*before, job]]
            left = None if None in times else sum(time for time in times if time is not None)
            return JobView(job, None, len(before), left)
        running = job.id == self._running
        return JobView(job, self._progress if running else None, None, self._left(job))

    def _before(self, job: Job) -> list[Job]:
        """Return the jobs that will be done before one that waits."""
        active = [job for job in self._jobs.values() if job.state in (State.WAITING, State.RUNNING)]
        return active[: active.index(job)]

    def _left(self, job: Job) -> float | None:
        """Estimate the seconds that a job will take from now on."""
        speeds = self._speeds.get(job.model)
        if job.duration is None or job.state in (State.DONE, State.FAILED):
            return None
        if job.id == self._running:
            return self._progress.left(job.duration, speeds)
        return speeds.whole(job.duration) if speeds else None

    def inspect(self, upload: Path, name: str) -> dict[str, Any]:
        """Return what a file is; TaskError if it is not audio."""
        with self._inspecting:
            return self._inspector.run({"upload": str(upload), "name": name}, patience=_INSPECTION)

    @contextmanager
    def arrival(self, size: int) -> Iterator[Path]:
        """Give a path for a file on its way, in bytes of a size that is expected.

        Raises
        ------
        QueueFullError, DiskFullError
            If nothing more can be taken on.
        """
        with self._lock:
            waiting = sum(job.state is State.WAITING for job in self._jobs.values())
            if waiting + self._arriving >= self.settings.max_jobs:
                raise QueueFullError(
                    f"{waiting + self._arriving} files are waiting already, and no more are "
                    "allowed; try again when some are done"
                )
            self.check_room(size)
            self._arriving += 1
        try:
            with self.store.incoming() as path:
                yield path
        finally:
            with self._lock:
                self._arriving -= 1

    def check_room(self, size: int) -> None:
        """Raise DiskFullError unless there is room for so many bytes more."""
        with self._lock:
            promised = sum(job.size for job in self._jobs.values())
        allowed = self.settings.max_disk - self.store.used() - promised
        if size > min(allowed, self.store.free() - promised):
            raise DiskFullError(
                f"this needs {size / 1e6:,.0f} MB and the server has room for "
                f"{max(min(allowed, self.store.free() - promised), 0) / 1e6:,.0f} MB; remove old "
                "results first"
            )

    def submit(self, upload: Path, job: Job) -> JobView:
        """Put a file that has arrived into the queue."""
        with self._lock:
            self.check_room(job.size)
            self.store.admit(upload, job)
            self._jobs[job.id] = job
            self._news.notify_all()
            view = self._view(job)
        self.changes.tell(job.id)
        return view

    def remove(self, job_id: str) -> bool:
        """Remove a job, whatever its state; return whether there was one."""
        with self._lock:
            job = self._jobs.pop(job_id, None)
            if job is None:
                return False
            if job_id == self._running:
                self._cancelled.set()
                self._separator.kill()
            else:
                self.store.remove(job)
        self.changes.tell(job_id)
        return True

    def _work(self) -> None:
        """Do one job after the other."""
        with self._inspecting:
            self._inspector.start()
        while (job := self._next()) is not None:
            logger.info("%s: begun, %s s of audio", job.id, job.duration and round(job.duration))
            error, result = "", {}
            try:
                result = self._separator.run(
                    self._request(job), self._listen, self.settings.patience, self._cancelled
                )
            except TaskError as failure:
                error = str(failure)
            self._finish(job, error, result)
            self.changes.tell(job.id)

    def _next(self) -> Job | None:
        """Wait for a job to do, and mark it as running; None when there is nothing more to do."""
        with self._lock:
            while not self._stopping:
                for job in self._jobs.values():
                    if job.state is State.WAITING:
                        return self._begin(job)
                self._news.wait()
            return None

    def _begin(self, job: Job) -> Job:
        """Mark a job as running."""
        job = replace(job, state=State.RUNNING, started=time.time())
        self._record(job)
        self._running, self._progress = job.id, Progress()
        self._cancelled.clear()
        self.changes.tell(job.id)
        return job

    def _record(self, job: Job) -> bool:
        """Keep a new state of a job; return whether it is on disk, too."""
        self._jobs[job.id] = job
        try:
            self.store.save(job)
        except OSError as error:
            logger.error("%s: the record could not be written: %s", job.id, error)
            return False
        return True

    def _request(self, job: Job) -> dict[str, Any]:
        """Return what the separation needs to know."""
        settings = self.settings
        return {
            "upload": str(self.store.upload(job)),
            "folder": str(self.store.work(job)),
            "name": job.name,
            "title": job.title,
            "model": self._source(job.model),
            "targets": job.targets,
            "residual": job.residual,
            "device": settings.device,
            "models": settings.models,
            "max_duration": settings.max_duration,
            "files_url": f"../../api/jobs/{job.id}/files/",  # from where its page is
        }

    def _listen(self, report: dict[str, Any]) -> None:
        """Note how far the running job is."""
        with self._lock:
            now, before = time.monotonic(), self._progress
            since = before.since if before.stage == report["stage"] else now
            seconds = report.get("seconds", before.seconds)
            self._progress = Progress(report["stage"], seconds, since, now)
            job_id = self._running
        if job_id is not None:
            self.changes.tell(job_id)

    def _finish(self, job: Job, error: str, result: dict[str, Any]) -> None:
        """Keep what became of a job, unless it was removed, or the server ends."""
        with self._lock:
            self._running = None
            if job.id not in self._jobs:
                self.store.remove(job)
                logger.info("%s: removed", job.id)
            elif result:
                self._keep(job, result)
            elif self._stopping:
                self.store.drop_results(job, upload=False)
                self._record(replace(job, state=State.WAITING, started=0.0))
            else:
                self._fail(job, error)

    def _keep(self, job: Job, result: dict[str, Any]) -> None:
        """Keep the results of a job."""
        duration = result.pop("duration")
        done = replace(
            job, state=State.DONE, finished=time.time(), duration=duration, size=0, result=result
        )
        try:
            self.store.publish(done)
        except OSError as error:
            self._fail(job, f"the results could not be kept: {error.strerror}")
            return
        self._jobs[job.id] = done
        finishing = max(time.monotonic() - self._progress.since, 1e-3)  # the stage it is in
        separating = max(done.finished - done.started - finishing, 1e-3)
        if duration:
            self._speeds[job.model] = Speeds(duration / separating, duration / finishing)
        logger.info("%s: done in %.1f s", job.id, done.finished - done.started)

    def _fail(self, job: Job, error: str) -> None:
        """Keep that a job has failed."""
        self.store.drop_results(job)
        self._record(job.failed(error))
        logger.info("%s: failed: %s", job.id, error)

    def _tidy(self) -> None:
        """Remove jobs that were finished long ago, again and again."""
        while not self._stopping:
            self.remove_old(time.time())
            with self._lock:
                if not self._stopping:
                    self._news.wait(_ROUND)

    def remove_old(self, now: float) -> None:
        """Remove the jobs whose time is over."""
        with self._lock:
            old = [job.id for job in self._jobs.values() if 0 < (self.expiry(job) or 0) <= now]
        for job_id in old:
            self.remove(job_id)

    def expiry(self, job: Job) -> float | None:
        """Return when a finished job will be removed, in seconds since 1970."""
        if not self.settings.keep or not job.finished:
            return None
        return job.finished + self.settings.keep
