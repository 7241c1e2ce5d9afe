"""From threads that change jobs to browsers that watch them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import anyio

__all__ = ["Changes"]


class _Watcher:
    """What one browser has not been told yet: each job once, however often it changed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.wake = asyncio.Event()
        self.jobs: dict[str, None] = {}


class Changes:
    """Ids of jobs that changed, for any number of watchers; slow ones miss steps, not states."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: set[_Watcher] = set()
        self._closed = False

    def tell(self, job_id: str) -> None:
        """Say that a job has changed or gone; for any thread."""
        with self._lock:
            for watcher in self._watchers:
                watcher.jobs[job_id] = None
                watcher.loop.call_soon_threadsafe(watcher.wake.set)

    def close(self) -> None:
        """End all watching; for any thread, and for handlers of signals."""
        self._closed = True
        for watcher in list(self._watchers):
            watcher.loop.call_soon_threadsafe(watcher.wake.set)

    async def watch(self, pulse: float) -> AsyncIterator[list[str]]:
        """Yield ids as they come; none at the start, and when there was no change for a while.

        Parameters
        ----------
        pulse : float
            Seconds of that while.

        Yields
        ------
        list of str
            The ids of jobs that have changed.
        """
        watcher = _Watcher()
        with self._lock:
            self._watchers.add(watcher)
        try:
            yield []
            while not self._closed:
                with anyio.move_on_after(pulse):
                    await watcher.wake.wait()
                watcher.wake.clear()
                with self._lock:
                    changed, watcher.jobs = list(watcher.jobs), {}
                if not self._closed:
                    yield changed
        finally:
            with self._lock:
                self._watchers.discard(watcher)
