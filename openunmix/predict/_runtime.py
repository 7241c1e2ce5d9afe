"""Threads and number formats.

Threads within an operation of torch meet at its end, in recurrent layers at every frame, and all
wait for one that the system does not schedule because another program computes. So every operation
runs in one thread here, and threads share out independent tasks, which meet a few times a chunk.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch
from torch import nn

logger = logging.getLogger(__name__)


def usable_precision(precision: str, device: torch.device) -> str:
    """Return the precision, or float32 with a warning where bfloat16 has no fast kernels.

    Without them torch computes bfloat16 hundreds of times slower than float32, or not at all.
    """
    if precision != "bf16" or device.type != "cpu" or _has_bfloat16():
        return precision
    logger.warning("this processor has no fast bfloat16: using float32 instead")
    return "float32"


@functools.cache
def _has_bfloat16() -> bool:
    """Whether torch has fast matrix products in bfloat16 for this processor, and LSTMs at all."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    frames = torch.zeros(2, 1, 2, dtype=torch.bfloat16)
    try:
        for gradients in (False, True):  # other kernels: those of separation and of training
            with torch.inference_mode(False), torch.set_grad_enabled(gradients):
                # On the meta device no random numbers are drawn.
                layer = nn.LSTM(2, 2, device="meta", dtype=torch.bfloat16).to_empty(device="cpu")
                layer(frames)
    except RuntimeError:  # torch 2.4: "could not create a primitive descriptor for an LSTM"
        return False
    return True


Item = TypeVar("Item")
Result = TypeVar("Result")

# More threads would have nothing to do: four networks have eight directions.
_MOST_THREADS = 8


class Task(Generic[Result]):
    """A function that runs in another thread, or here and at once where there is none."""

    def __init__(self, pool: ThreadPoolExecutor | None, function: Callable[[], Result]) -> None:
        self._function = function
        self._future: Future[Result] = Future()
        if pool is None:
            self._future.set_result(function())
        else:
            self._future = pool.submit(function)

    @property
    def done(self) -> bool:
        """Whether the result is known."""
        return self._future.done()

    def compute(self) -> None:
        """Compute the task here, unless a thread has begun it."""
        if self._future.cancel():
            self._future = Future()
            self._future.set_result(self._function())

    def result(self) -> Result:
        """Return the result; a task that no thread has begun is computed by the one that asks."""
        self.compute()
        return self._future.result()


class Tasks:
    """Threads, as many as torch has in the caller's, in which it computes with one thread each.

    The caller's own settings stay. If torch has one thread there, or on another device than the
    CPU, or when asked for, tasks are ``sequential``: the caller computes them, one after the other.
    """

    def __init__(self, device: torch.device, sequential: bool = False) -> None:
        threads = torch.get_num_threads()
        self.threads = min(threads, _MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None
        if sequential or device.type != "cpu" or threads < 2:
            self.threads = 1
            return
        started = threading.Barrier(self.threads + 1)
        self._pool = ThreadPoolExecutor(self.threads, "umx", _compute_in_one_thread, (started,))
        try:
            for _ in range(self.threads):
                self._pool.submit(int)  # no thread is idle before the barrier: each call starts one
            started.wait()
        except BaseException:
            started.abort()
            raise
        finally:
            torch.set_num_threads(threads)  # of the caller's threads that start later

    def __enter__(self) -> Tasks:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def steps(self, iterator: Iterator[Item]) -> Iterator[Item]:
        """Iterate in one of the threads, which may start and await tasks, unlike the caller's."""
        if self._pool is None:
            yield from iterator
            return
        end = object()
        while (item := self._pool.submit(next, iterator, end).result()) is not end:
            yield item  # type: ignore[misc]

    def run(self, function: Callable[[], Result]) -> Result:
        """Call a function in one of the threads."""
        return function() if self._pool is None else self._pool.submit(function).result()

    def start(self, function: Callable[[Item], Result], item: Item) -> Task[Result]:
        """Begin a task; it computes in the precision that ``torch.autocast`` has here."""
        if not torch.is_autocast_enabled("cpu"):
            return Task(self._pool, functools.partial(function, item))
        cast = torch.autocast("cpu", torch.get_autocast_dtype("cpu"))
        return Task(self._pool, functools.partial(cast(function), item))

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Apply a function to all items, in order."""
        tasks = [self.start(function, item) for item in items]
        # From the end: the other threads take the tasks from the start.
        return [task.result() for task in reversed(tasks)][::-1]

    def stream(
        self, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
    ) -> Iterator[Result]:
        """Apply a function to items one by one, up to ``ahead`` items ahead of the consumer."""
        waiting: deque[Task[Result]] = deque()
        for item in items:
            waiting.append(self.start(function, item))
            if len(waiting) > ahead or self._pool is None:
                yield _first_result(waiting)
        while waiting:
            yield _first_result(waiting)


def _first_result(waiting: deque[Task[Result]]) -> Result:
    """Remove the first task and return its result; compute others while it runs elsewhere."""
    for task in waiting:
        if waiting[0].done:
            break
        task.compute()
    return waiting.popleft().result()


def _compute_in_one_thread(started: threading.Barrier) -> None:
    """Prepare a thread: its operations do not wait for threads of their own."""
    torch.get_num_threads()  # or else the first operation sets the number of the whole process
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    started.wait()


#: Tasks that are computed one after the other, with the threads that torch has.
SEQUENTIAL = Tasks(torch.device("cpu"), sequential=True)
