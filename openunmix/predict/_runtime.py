"""Equal tasks in threads of their own, where a processor has several.

Within an operation torch's threads wait for each other, in recurrent layers at every frame. Tasks
that need nothing of each other wait once, at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["map_threads", "usable_precision"]

logger = logging.getLogger(__name__)


def usable_precision(precision: str, device: torch.device) -> str:
    """Return the precision asked for, or float32 where the processor lacks bfloat16.

    There torch computes bfloat16 without its fast kernels, hundreds of times slower than float32.

    Parameters
    ----------
    precision : str
        Such as ``"float32"`` or ``"bf16"``.
    device : torch.device
        Where matrices are multiplied.

    Returns
    -------
    str
        The precision to use; a warning is logged where it is not the one asked for.
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
    """Apply a function to all items, without gradients.

    The threads that torch may use are shared out among the items.

    Parameters
    ----------
    function : callable
        What to do with an item.
    items : sequence
        The items.
    device : torch.device
        Where it is done: on others than the CPU, one item comes after the other.

    Returns
    -------
    list
        The results in the order of the items.
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
        torch.set_num_threads(threads)  # of threads that begin later
