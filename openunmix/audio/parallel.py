"""Files that are encoded in parallel, one thread each, until one fails or a signal arrives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TypeVar

from openunmix.audio.channels import Block

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Passes blocks on, or raises CancelledError if another thread has failed.
Stoppable = Callable[[Iterable[Block]], Iterator[Block]]


def encode_in_parallel(
    encode: Callable[[Item, Stoppable], Result], items: Sequence[Item]
) -> list[Result]:
    """Apply a function to all items; it has to read its blocks through its second argument."""
    stopped = threading.Event()

    def stoppable(blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            if stopped.is_set():
                raise CancelledError
            yield block

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(lambda item: encode(item, stoppable), items))
        except BaseException:
            stopped.set()  # or the pool would wait until all have been encoded
            raise
