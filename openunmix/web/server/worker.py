"""A process beside the server for what may crash, hang, take long, or has to end at once.

Codecs read files of strangers there, and networks compute. The two processes exchange JSON, so
that nothing a file might do to one of them runs code in the other.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from openunmix.errors import OpenUnmixError

__all__ = ["DiskFullError", "Report", "Task", "TaskError", "Worker"]

Report = Callable[..., None]
Task = Callable[[dict[str, Any], Report], dict[str, Any]]

# A process that is forked from one that has loaded torch is there at once.
_METHOD = "spawn" if sys.platform == "win32" else "forkserver"

_SIGKILL = 9


class TaskError(Exception):
    """A task failed; the message is for the one who asked for it."""


class DiskFullError(TaskError):
    """There is no room for what a task needs."""


class Worker:
    """A process that does tasks, one after the other; another one takes its place if it ends.

    Parameters
    ----------
    task : callable
        What it does, a function of a module: with a request and a function to report with, both
        sides in types of JSON. ``OpenUnmixError``, ``ValueError``, ``OSError`` and
        ``DiskFullError`` are failures of the one task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def start(self) -> Connection:
        """Return the connection to a process that lives; a new one takes a while to begin."""
        if self._process is not None and self._process.is_alive() and self._connection is not None:
            return self._connection
        self._forget()
        context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            context.set_forkserver_preload([__name__, self._task.__module__])
        connection, end = context.Pipe()
        process = context.Process(target=_work, args=(end, self._task), daemon=True)
        process.start()
        end.close()
        self._process, self._connection = process, connection
        return self._connection

    def run(
        self,
        request: dict[str, Any],
        listen: Callable[[dict[str, Any]], None] = lambda report: None,
        patience: float | None = None,
        cancelled: threading.Event | None = None,
    ) -> dict[str, Any]:
        """Do the task.

        Parameters
        ----------
        request : dict
            What the task gets.
        listen : callable
            Called with every report of the task.
        patience : float, optional
            Seconds without a report after which the process is ended.
        cancelled : Event, optional
            Set before :meth:`kill` is called, so that a task that is only about to begin does not.

        Returns
        -------
        dict
            What the task returns.

        Raises
        ------
        TaskError
            If it fails, its process ends, or nothing was heard of it for too long;
            ``DiskFullError`` if there is no room.
        """
        try:
            connection = self.start()
            if cancelled is not None and cancelled.is_set():
                raise TaskError("cancelled")
            connection.send_bytes(json.dumps(request).encode())
            while connection.poll(patience):
                kind, content = json.loads(connection.recv_bytes())
                if kind == "done":
                    return dict(content)
                if kind == "full":
                    raise DiskFullError(content)
                if kind == "failed":
                    raise TaskError(content)
                listen(content)
        except (EOFError, OSError) as error:
            raise TaskError(self._post_mortem()) from error
        self.close()
        raise TaskError(f"given up: there was no progress for {patience:g} seconds")

    def kill(self) -> None:
        """End the process, whatever it does; may be called by any thread."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process and wait for its end."""
        self.kill()
        self._forget()

    def _forget(self) -> int | None:
        """Wait for the end of a process and return its exit code."""
        code = None
        if self._process is not None:
            self._process.join()
            with self._lock:
                code = self._process.exitcode
                self._process.close()
                self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return code

    def _post_mortem(self) -> str:
        """Say how the process ended."""
        code = self._forget()
        if code == -_SIGKILL:
            return "the system ended the separation; most likely the memory was not enough"
        if code is not None and code < 0:
            return (
                f"the file made the program crash ({signal.Signals(-code).name}); it may be "
                "damaged: export it again, as WAV or FLAC"
            )
        return "the separation ended unexpectedly; the log of the server says why"


def _work(connection: Connection, task: Task) -> None:
    """Do tasks until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def send(kind: str, content: object) -> None:
        connection.send_bytes(json.dumps([kind, content]).encode())

    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            send("done", task(request, lambda **content: send("report", content)))
        except DiskFullError as error:
            send("full", str(error))
        except (OpenUnmixError, ValueError, OSError, MemoryError) as error:
            send("failed", str(error) or type(error).__name__)


def _end_with_parent() -> None:
    """End this process when the server's ends, in whatever way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
