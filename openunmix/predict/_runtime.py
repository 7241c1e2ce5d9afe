"""Threads and number formats.

Threads within an operation of torch wait for each other, in recurrent layers at every frame.
Independent tasks in threads of their own wait once, at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)


def usable_precision(precision: str, device: torch.device) -> str:
    """Return the precision, or float32 with a warning where bfloat16 has no fast kernels.

    Without them torch computes bfloat16 hundreds of times slower than float32.
    """
    if precision != "bf16" or device.type != "cpu" or _has_bfloat16():
        return precision
    logger.warning("this processor has no fast bfloat16: using float32 instead")
    return "float32"


def _has_bfloat16() -> bool:
    """Whether torch has fast matrix products in bfloat16 for this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


Item = TypeVar("Item")
Result = TypeVar("Result")


@torch.no_grad()
def map_threads(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> list[Result]:
    """Apply a function to all items, in order and without gradients.

    On a CPU the items share torch's threads; other devices process one item after the other.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(items))
    if workers < 2 or device.type != "cpu":
        return [function(item) for item in items]

    def work(item: Item) -> Result:
        torch.set_num_threads(threads // workers)  # of this thread
        with torch.no_grad():
            return function(item)

    try:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)  # of threads that start later
