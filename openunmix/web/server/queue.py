"""The queue: accepts jobs, runs one after the other, and keeps their results."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from openunmix.web.server.events import Events
from openunmix.web.server.job import Job, JobProgress, Speeds, State
from openunmix.web.server.settings import Settings
from openunmix.web.server.store import Store
from openunmix.web.server.tasks import inspect, separate
from openunmix.web.server.worker import DiskFullError, Task, TaskError, Worker

logger = logging.getLogger(__name__)

_INSPECT_TIMEOUT = 30.0  # seconds
_CLEANUP_INTERVAL = 60.0

_INTERRUPTED = "interrupted: the server ended during the separation; send the file again"


class QueueFullError(Exception):
    """The maximum number of jobs waits already."""


class JobView(NamedTuple):
    """A job as of now; times in seconds."""

    job: Job
    progress: JobProgress | None  # if it is running
    position: int | None  # number of jobs before it, if it is waiting
    eta: float | None  # until it is done


class Queue:
    """The jobs of a server; all methods may be called by any thread.

    ``source`` maps the model of a job to the one to load; ``task`` is as in
    :func:`openunmix.web.server.tasks.separate`.
    """

    def __init__(
        self, settings: Settings, source: Callable[[str | None], str | None], task: Task = separate
    ) -> None:
        self.settings = settings
        self._source = source
        self.events = Events()
        self.store = Store(settings.folder)
        self._separator = Worker(task)
        self._inspector = Worker(inspect)
        self._inspecting = threading.Lock()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._jobs: dict[str, Job] = {}
        self._uploads = 0  # in progress
        self._progress = JobProgress()  # of the running job
        self._cancelled = threading.Event()  # by removal of the running job, or by stop()
        self._speeds: dict[str | None, Speeds] = {}  # of the last job of each model
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load the jobs on disk and start working."""
        for job in self.store.load():
            self._jobs[job.id] = job
            if job.state is State.RUNNING:
                self._record(job.failed(_INTERRUPTED))
        for work in (self._work, self._clean_up):
            thread = threading.Thread(target=work, name=f"umx-serve {work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop working; the running job waits for the next start."""
        with self._lock:
            self._stopping = True
            self._cancelled.set()
            self._separator.kill()
            self._changed.notify_all()
        self.events.close()
        for thread in self._threads:
            thread.join()
        self._separator.close()
        with self._inspecting:
            self._inspector.close()
        self.store.close()

    def views(self) -> list[JobView]:
        """All jobs in the order of arrival."""
        with self._lock:
            return [self._view(job) for job in self._jobs.values()]

    def view(self, job_id: str) -> JobView | None:
        """One job, None if there is no such job."""
        with self._lock:
            job = self._jobs.get(job_id)
            return None if job is None else self._view(job)

    def _view(self, job: Job) -> JobView:
        """View of a job."""
        if job.state is State.WAITING:
            active = [j for j in self._jobs.values() if j.state in (State.WAITING, State.RUNNING)]
            position = active.index(job)
            etas = [self._eta(other) for other in active[: position + 1]]
            eta = None if None in etas else sum(eta for eta in etas if eta is not None)
            return JobView(job, None, position, eta)
        running = job.state is State.RUNNING
        return JobView(job, self._progress if running else None, None, self._eta(job))

    def _eta(self, job: Job) -> float | None:
        """Estimated seconds that a job takes from now on, without those before it."""
        speeds = self._speeds.get(job.model)
        if job.duration is None or job.state in (State.DONE, State.FAILED):
            return None
        if job.state is State.RUNNING:
            return self._progress.eta(job.duration, speeds)
        return speeds.total(job.duration) if speeds else None

    def inspect(self, upload: Path, name: str) -> dict[str, Any]:
        """Return what :func:`tasks.inspect` finds; TaskError if the file is not audio."""
        with self._inspecting:
            return self._inspector.run(
                {"upload": str(upload), "name": name}, timeout=_INSPECT_TIMEOUT
            )

    @contextmanager
    def upload(self, size: int) -> Iterator[Path]:
        """Path for an upload of ``size`` bytes; QueueFullError or DiskFullError without room."""
        with self._lock:
            waiting = sum(job.state is State.WAITING for job in self._jobs.values())
            if waiting + self._uploads >= self.settings.max_jobs:
                raise QueueFullError(
                    f"{waiting + self._uploads} files are waiting already, which is the maximum; "
                    "try again when some are done"
                )
            self.check_disk(size)
            self._uploads += 1
        try:
            with self.store.incoming() as path:
                yield path
        finally:
            with self._lock:
                self._uploads -= 1

    def check_disk(self, size: int) -> None:
        """Raise DiskFullError unless ``size`` more bytes fit, beside those of waiting jobs."""
        with self._lock:
            reserved = sum(job.size for job in self._jobs.values())
        available = min(self.settings.max_disk - self.store.used(), self.store.free()) - reserved
        if size > available:
            raise DiskFullError(
                f"this needs {size / 1e6:,.0f} MB and the server has room for "
                f"{max(available, 0) / 1e6:,.0f} MB; remove old results first"
            )

    def submit(self, upload: Path, job: Job) -> JobView:
        """Enqueue a complete upload."""
        with self._lock:
            self.check_disk(job.size)
            self.store.admit(upload, job)
            self._jobs[job.id] = job
            self._changed.notify_all()
            view = self._view(job)
        self.events.notify(job.id)
        return view

    def remove(self, job_id: str) -> bool:
        """Remove a job in any state; return whether it existed."""
        with self._lock:
            job = self._jobs.pop(job_id, None)
            if job is None:
                return False
            if job.state is State.RUNNING:
                self._cancelled.set()
                self._separator.kill()
            else:
                self.store.remove(job)
        self.events.notify(job_id)
        return True

    def _work(self) -> None:
        """Run one job after the other."""
        with self._inspecting, suppress(OSError):  # it starts with the first upload then
            self._inspector.start()
        while (job := self._next()) is not None:
            self.events.notify(job.id)
            logger.info("%s: started, %s s of audio", job.id, job.duration and round(job.duration))
            error, result = "", {}
            try:
                report = partial(self._on_report, job.id)
                result = self._separator.run(
                    self._request(job),
                    report,
                    self.settings.timeout,
                    self._cancelled,
                    partial(self._on_retry, job),
                )
            except TaskError as failure:
                error = str(failure)
            self._finish(job, error, result)
            self.events.notify(job.id)

    def _next(self) -> Job | None:
        """Wait for a job and mark it as running; None when stopping."""
        with self._lock:
            while not self._stopping:
                for job in self._jobs.values():
                    if job.state is State.WAITING:
                        self._progress = JobProgress()
                        self._cancelled.clear()
                        return self._record(replace(job, state=State.RUNNING, started=time.time()))
                self._changed.wait()
            return None

    def _record(self, job: Job) -> Job:
        """Replace the state of a job, on disk if possible."""
        self._jobs[job.id] = job
        try:
            self.store.save(job)
        except OSError as error:
            logger.error("%s: the record could not be written: %s", job.id, error)
        return job

    def _request(self, job: Job) -> dict[str, Any]:
        """Request for :func:`tasks.separate`."""
        return {
            "upload": str(self.store.upload(job)),
            "folder": str(self.store.work(job)),
            "name": job.name,
            "title": job.title,
            "model": self._source(job.model),
            "targets": job.targets,
            "residual": job.residual,
            "device": self.settings.device,
            "models": self.settings.models,
            "max_duration": self.settings.max_duration,
            "files_url": f"../../api/jobs/{job.id}/files/",  # relative to the player page
        }

    def _on_report(self, job_id: str, report: dict[str, Any]) -> None:
        """Update the progress of the running job."""
        with self._lock:
            now, before = time.monotonic(), self._progress
            since = before.since if before.stage == report["stage"] else now
            seconds = report.get("seconds", before.seconds)
            self._progress = JobProgress(report["stage"], seconds, since, now)
        self.events.notify(job_id)

    def _on_retry(self, job: Job, reason: str) -> None:
        """Prepare a second attempt, as the first may have ended for the memory of other models."""
        logger.warning("%s: %s; trying again", job.id, reason)
        self.store.drop_results(job, upload=False)
        with self._lock:
            self._progress = JobProgress()

    def _finish(self, job: Job, error: str, result: dict[str, Any]) -> None:
        """Record the outcome of a job, unless it was removed or the server is stopping."""
        with self._lock:
            if job.id not in self._jobs:
                self.store.remove(job)
                logger.info("%s: removed", job.id)
            elif result:
                self._succeed(job, result)
            elif self._stopping:
                self.store.drop_results(job, upload=False)
                self._record(replace(job, state=State.WAITING, started=0.0))
            else:
                self._fail(job, error)

    def _succeed(self, job: Job, result: dict[str, Any]) -> None:
        """Publish the results of a job."""
        duration = result.pop("duration")
        done = replace(
            job, state=State.DONE, finished=time.time(), duration=duration, size=0, result=result
        )
        try:
            self.store.publish(done)
        except OSError as error:
            self._fail(job, f"the results could not be stored: {error.strerror}")
            return
        self._jobs[job.id] = done
        finishing = max(time.monotonic() - self._progress.since, 1e-3)  # the last stage
        separating = max(done.finished - done.started - finishing, 1e-3)
        if duration:
            self._speeds[job.model] = Speeds(duration / separating, duration / finishing)
        logger.info("%s: done in %.1f s", job.id, done.finished - done.started)

    def _fail(self, job: Job, error: str) -> None:
        """Record that a job has failed."""
        self.store.drop_results(job)
        self._record(job.failed(error))
        logger.info("%s: failed: %s", job.id, error)

    def _clean_up(self) -> None:
        """Remove expired jobs once a minute."""
        while not self._stopping:
            self.remove_expired(time.time())
            with self._lock:
                if not self._stopping:
                    self._changed.wait(_CLEANUP_INTERVAL)

    def remove_expired(self, now: float) -> None:
        """Remove the jobs that have expired at a time in seconds since 1970."""
        with self._lock:
            expired = [job.id for job in self._jobs.values() if 0 < (self.expiry(job) or 0) <= now]
        for job_id in expired:
            self.remove(job_id)

    def expiry(self, job: Job) -> float | None:
        """Time at which a finished job is removed, in seconds since 1970."""
        if not self.settings.retention or not job.finished:
            return None
        return job.finished + self.settings.retention
