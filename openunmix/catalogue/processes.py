"""Rows separated in processes of this machine, each with cores, or a GPU, of its own."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from openunmix._signals import stopping
from openunmix.catalogue.manifest import Row
from openunmix.catalogue.settings import Settings, load
from openunmix.catalogue.worker import Record, failed, separate_row
from openunmix.errors import OpenUnmixError
from openunmix.predict.memory import estimate_memory

# Processes that a row may take down, by a damaged file or too little memory, before it is given up;
# and that may be killed, one after the other, while they start.
_ATTEMPTS = 2


def cores() -> list[int]:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def default_processes(settings: Settings) -> int:
    """One process for each GPU, or for each core, as many as fit into the memory that is free."""
    if settings.device.startswith("cuda"):
        return max(1, torch.cuda.device_count())
    needed = estimate_memory(load(settings), settings.stream_config)
    return max(1, min(len(cores()), free_memory() // needed))


def free_memory() -> int:
    """Bytes that can be used: of the machine, or of the container; 2**62 if that is unknown."""
    free = 1 << 62
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if "MemAvailable" in line)
    with suppress(OSError, ValueError):  # "max", and machines without control groups
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    return free


@dataclass
class _Task:
    """A row, and how many processes it has taken down."""

    row: Row
    deaths: int = 0


class _Worker:
    """A process that separates a row at a time; another takes its place if it dies."""

    def __init__(self, settings: Settings, own: Sequence[int], gpu: int | None) -> None:
        self._settings, self._own, self._gpu = settings, own, gpu
        self._starts = 0  # since a process has worked
        self.task: _Task | None = None
        self._start()

    def _start(self) -> None:
        """Start a process."""
        # A forked process would inherit locks of thread pools that do not exist in it.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self._settings, self._own, self._gpu), daemon=True
        )
        self.process.start()
        theirs.close()
        self._starts += 1

    def give(self, task: _Task) -> None:
        """Let the process separate a row."""
        self.task = task
        with suppress(OSError):  # it has died, which reading from it reports
            self.connection.send(task.row)

    def receive(self, waiting: deque[_Task]) -> Record | None:
        """Record of its row; None if it has started, or died, and the row waits for another."""
        try:
            message: Record | None = self.connection.recv()
        except (EOFError, OSError):
            return self._replace(waiting)
        if message is None:
            self._starts = 0
        else:
            self.task = None
        return message

    def _replace(self, waiting: deque[_Task]) -> Record | None:
        """Start another process; OpenUnmixError if there is no use in that."""
        self.connection.close()
        self.process.join()
        task, self.task, code = self.task, None, self.process.exitcode
        assert task is not None
        assert code is not None
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not self._starts:
            task.deaths += 1
        elif code >= 0 or self._starts == _ATTEMPTS:
            raise OpenUnmixError(
                f"a process cannot start: it ended by {how}, and printed why; no song is recorded "
                "as failed for that"
            )
        self._start()
        if task.deaths < _ATTEMPTS:
            waiting.append(task)
            return None
        reason = (
            f"{task.row['uri']!r} failed: its process ended by {how}, {_ATTEMPTS} times; "
            "the file is damaged, or there is too little memory"
        )
        return failed(task.row, self._settings, reason)


def _serve(connection: Connection, settings: Settings, own: Sequence[int], gpu: int | None) -> None:
    """Report the start, then separate the rows that arrive, until nobody sends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends its processes
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, own)
    torch.set_num_threads(len(own))
    if gpu is not None:
        settings = replace(settings, device=f"cuda:{gpu}")
    with suppress(EOFError, OSError, KeyboardInterrupt), stopping():
        connection.send(None)
        while True:
            connection.send(separate_row(connection.recv(), settings))


def separate_in_processes(
    rows: Iterable[Row], settings: Settings, processes: int
) -> Iterator[Record]:
    """Separate rows; yield their records as they come.

    A row that ends its process, as by a damaged file or too little memory, is tried again once. A
    process that cannot start raises OpenUnmixError, whatever it was to separate.
    """
    waiting = deque(_Task(row) for row in rows)
    places = _places(settings, max(1, min(processes, len(waiting))))
    workers = [_Worker(settings, own, gpu) for own, gpu in places]
    try:
        while waiting or any(worker.task for worker in workers):
            for worker in workers:
                if worker.task is None and waiting:
                    worker.give(waiting.popleft())
            for worker in _answering(workers):
                record = worker.receive(waiting)
                if record is not None:
                    yield record
    finally:
        _end(workers)


def _places(settings: Settings, processes: int) -> list[tuple[list[int], int | None]]:
    """Cores of each process, and its GPU."""
    usable, gpus = cores(), torch.cuda.device_count() if settings.device == "cuda" else 0
    each = max(1, len(usable) // processes)
    return [
        (
            [usable[(number * each + core) % len(usable)] for core in range(each)],
            number % gpus if gpus else None,
        )
        for number in range(processes)
    ]


def _answering(workers: Sequence[_Worker]) -> list[_Worker]:
    """Workers that have sent something, or died; at least one, of those with a row."""
    answers = wait([worker.connection for worker in workers if worker.task])
    return [worker for worker in workers if worker.connection in answers]


def _end(workers: Iterable[_Worker]) -> None:
    """End the processes: those that are busy remove their temporary files first."""
    for worker in workers:
        if worker.task:
            worker.process.terminate()
        worker.connection.close()
    for worker in workers:
        worker.process.join(10)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
