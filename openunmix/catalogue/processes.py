"""Rows separated in processes of this machine, each with cores, or a GPU, of its own."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from openunmix._signals import stopping
from openunmix.catalogue.settings import Settings, load
from openunmix.catalogue.worker import Record, failed, separate_row
from openunmix.predict.memory import estimate_memory

Row = Mapping[str, Any]

# Processes that a row may take down, by a damaged file or too little memory, before it is given up.
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


class _Worker:
    """A process, the row that it separates, and the connection to it."""

    def __init__(self, settings: Settings, own: Sequence[int], gpu: int | None) -> None:
        # A forked process would inherit locks of thread pools that do not exist in it.
        context = get_context("spawn")
        self.settings, self.own, self.gpu = settings, own, gpu
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, settings, own, gpu), daemon=True
        )
        self.process.start()
        theirs.close()
        self.row: Row | None = None

    def replaced(self) -> _Worker:
        """Return a new process in the place of one that has died."""
        self.connection.close()
        return _Worker(self.settings, self.own, self.gpu)

    def give(self, row: Row | None) -> None:
        """Let the process separate a row, or end it."""
        self.row = row
        with suppress(OSError):  # it has died, which reading from it reports
            self.connection.send(row)


def _serve(connection: Connection, settings: Settings, own: Sequence[int], gpu: int | None) -> None:
    """Separate the rows that arrive, until there are no more, or nobody who sends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends its processes
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, own)
    torch.set_num_threads(len(own))
    if gpu is not None:
        settings = replace(settings, device=f"cuda:{gpu}")
    with suppress(EOFError, OSError, KeyboardInterrupt), stopping():
        while (row := connection.recv()) is not None:
            connection.send(separate_row(row, settings))


def separate_in_processes(
    rows: Iterable[Row], settings: Settings, processes: int
) -> Iterator[Record]:
    """Separate rows; yield their records as they come.

    A row that ends its process, as by a damaged file or too little memory, is tried again once.
    """
    waiting = deque((row, 1) for row in rows)
    processes = max(1, min(processes, len(waiting)))
    usable, gpus = cores(), torch.cuda.device_count() if settings.device == "cuda" else 0
    each = max(1, len(usable) // processes)
    workers = []
    attempts: dict[int, int] = {}
    for number in range(processes):
        own = [usable[(number * each + core) % len(usable)] for core in range(each)]
        workers.append(_Worker(settings, own, number % gpus if gpus else None))
    try:
        while workers:
            for number, worker in enumerate(workers):
                if worker.row is None and waiting:
                    row, attempts[number] = waiting.popleft()
                    worker.give(row)
            busy = {
                worker.connection: number for number, worker in enumerate(workers) if worker.row
            }
            if not busy:
                break
            for connection in wait(list(busy)):
                number = busy[connection]  # type: ignore[index]
                worker = workers[number]
                assert worker.row is not None
                try:
                    record: Record = worker.connection.recv()
                except (EOFError, OSError):
                    row = worker.row
                    worker.process.join()
                    workers[number] = worker.replaced()
                    if attempts[number] < _ATTEMPTS:
                        waiting.append((row, attempts[number] + 1))
                        continue
                    record = failed(row, settings, _death(row, worker.process.exitcode))
                worker.row = None
                yield record
    finally:
        _end(workers)


def _death(row: Row, code: int | None) -> str:
    """Why a row is given up."""
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return (
        f"{row['uri']!r} failed: its process ended by {how}, {_ATTEMPTS} times; "
        "the file is damaged, or there is too little memory"
    )


def _end(workers: Iterable[_Worker]) -> None:
    """End the processes: those that are busy remove their temporary files first."""
    for worker in workers:
        if worker.row is None:
            worker.give(None)
        else:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(10)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
