"""A process for tasks that may crash, hang, take long, or have to be killed.

It decodes untrusted files and runs the networks. Server and worker exchange JSON, so that
whatever a file does to one of them cannot execute code in the other.
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

from openunmix._signals import ENDING
from openunmix.errors import OpenUnmixError

Report = Callable[..., None]
Task = Callable[[dict[str, Any], Report], dict[str, Any]]

# A process forked from a server that has imported torch starts at once.
_METHOD = "spawn" if sys.platform == "win32" else "forkserver"

# Signals of faults in a program, which a file can cause; others come from users and the system.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGFPE", "SIGBUS")


class TaskError(Exception):
    """A task failed; the message is for the client."""


class DiskFullError(TaskError):
    """The disk has no room for a task."""


class CrashError(TaskError):
    """The process of a task ended for another reason than the task, as far as is known."""


class Worker:
    """A process that runs one task after the other, and is replaced when it ends.

    The task is a function of a module. It takes a request and a function to report progress, both
    of types of JSON; ``OpenUnmixError``, ``ValueError``, ``OSError`` and ``DiskFullError`` fail
    only the task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def start(self) -> Connection:
        """Return the connection to a running process, starting one if necessary."""
        if self._process is not None and self._process.is_alive() and self._connection is not None:
            return self._connection
        self._join()
        context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            context.set_forkserver_preload([__name__, self._task.__module__])
        connection, end = context.Pipe()
        process = context.Process(target=_serve, args=(end, self._task), daemon=True)
        process.start()
        end.close()
        self._process, self._connection = process, connection
        return self._connection

    def run(
        self,
        request: dict[str, Any],
        on_report: Callable[[dict[str, Any]], None] = lambda report: None,
        timeout: float | None = None,
        cancelled: threading.Event | None = None,
        on_retry: Callable[[str], None] = lambda reason: None,
    ) -> dict[str, Any]:
        """Run the task; TaskError if it fails, crashes, or reports nothing for ``timeout`` seconds.

        If the process ends, the task is run once more in a new one, after ``on_retry``.
        ``cancelled`` is set before :meth:`kill`, so that a task does not start after that.
        """
        codes: list[int | None] = []
        while len(codes) < 2:
            if cancelled is not None and cancelled.is_set():
                raise TaskError("cancelled")
            try:
                return self._attempt(request, on_report, timeout, cancelled)
            except (EOFError, OSError):
                codes.append(self._join())
                if len(codes) < 2 and not (cancelled is not None and cancelled.is_set()):
                    on_retry(_reason(codes[0]))
        name = _signal(codes[1])
        if name in _CRASHES and _signal(codes[0]) == name:
            raise TaskError(
                f"the file made the program crash twice ({name}); it may be damaged: export it "
                "again, as WAV or FLAC"
            )
        raise CrashError(f"{_reason(codes[1])}, also at a second attempt")

    def _attempt(
        self,
        request: dict[str, Any],
        on_report: Callable[[dict[str, Any]], None],
        timeout: float | None,
        cancelled: threading.Event | None,
    ) -> dict[str, Any]:
        """Run the task once; EOFError or OSError if the process ends."""
        connection = self.start()
        if cancelled is not None and cancelled.is_set():
            raise TaskError("cancelled")
        connection.send_bytes(json.dumps(request).encode())
        while connection.poll(timeout):
            kind, content = json.loads(connection.recv_bytes())
            if kind == "done":
                return dict(content)
            if kind == "full":
                raise DiskFullError(content)
            if kind == "failed":
                raise TaskError(content)
            on_report(content)
        self.close()
        raise TaskError(f"aborted: no progress for {timeout:g} seconds")

    def kill(self) -> None:
        """Kill the process; from any thread."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the process and wait for its end."""
        self.kill()
        self._join()

    def _join(self) -> int | None:
        """Wait for the end of the process and return its exit code."""
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


def _signal(code: int | None) -> str:
    """Name of the signal that ended a process, empty if none did."""
    names = {known.value: known.name for known in signal.Signals}
    return names.get(-code, f"signal {-code}") if code is not None and code < 0 else ""


def _reason(code: int | None) -> str:
    """Say what is known of the end of a process."""
    name = _signal(code)
    if name == "SIGKILL":
        return "the system killed the separation (SIGKILL), most likely as it ran out of memory"
    if name:
        return f"the separation was ended by {name}"
    return f"the separation ended with exit code {code}; see the log of the server"


def _serve(connection: Connection, task: Task) -> None:
    """Run tasks until the server closes the connection."""
    for number in set(ENDING) - {signal.SIGTERM}:  # those of a terminal are for the server
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()

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
        except (OpenUnmixError, ValueError, OSError) as error:
            send("failed", str(error) or type(error).__name__)
        except (MemoryError, RuntimeError) as error:  # the latter is torch's
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            send("failed", "the memory of the server does not suffice; send a shorter excerpt")


def _exit_with_parent() -> None:
    """Exit when the server's process ends, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
