"""Notification of browsers about changed jobs, from threads to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator


class _Subscriber:
    """Jobs that one client has not been notified of: each once, however often it changed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.wake = asyncio.Event()
        self.jobs: dict[str, None] = {}


class Events:
    """Ids of changed jobs, for any number of subscribers; slow ones miss steps, not states."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: set[_Subscriber] = set()
        self._closed = False

    def notify(self, job_id: str) -> None:
        """Report that a job has changed or was removed; from any thread."""
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.jobs[job_id] = None
                subscriber.loop.call_soon_threadsafe(subscriber.wake.set)

    def close(self) -> None:
        """End all subscriptions; from any thread and from signal handlers."""
        self._closed = True
        for subscriber in list(self._subscribers):
            subscriber.loop.call_soon_threadsafe(subscriber.wake.set)

    async def subscribe(self) -> AsyncIterator[list[str]]:
        """Yield an empty list once subscribed, then the ids of jobs that have changed."""
        subscriber = _Subscriber()
        with self._lock:
            self._subscribers.add(subscriber)
        try:
            yield []
            while not self._closed:
                await subscriber.wake.wait()
                subscriber.wake.clear()
                with self._lock:
                    changed, subscriber.jobs = list(subscriber.jobs), {}
                if not self._closed:
                    yield changed
        finally:
            with self._lock:
                self._subscribers.discard(subscriber)
