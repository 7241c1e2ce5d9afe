"""Frames cut into sequences that see their neighbours, for networks that are given no state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_sequences"]


def in_sequences(
    function: Callable[[Tensor], Tensor],
    frames: Tensor,
    first: int,
    last: int,
    longest: int | None,
    context: int,
) -> Tensor:
    """Apply a function of sequences to some of the frames, cut into several of equal length.

    Parameters
    ----------
    function : callable
        From (frames, batch, features) to (frames, batch, other features).
    frames : Tensor [shape=(frames, features)], real
        The frames, and those around them.
    first, last : int
        The first frame wanted, and the one after the last.
    longest : int, optional
        Frames, at most, that a sequence has of its own; if not given, there is one sequence.
    context : int
        Frames that a sequence sees beyond its own on both sides, where there are as many.

    Returns
    -------
    Tensor [shape=(last - first, other features)], real
        The results.
    """
    wanted = last - first
    count = 1 if longest is None else -(-wanted // longest)
    own = -(-wanted // count)
    length = len(frames) if longest is None else min(own + 2 * context, len(frames))
    begins = [first + number * own for number in range(count)]
    starts = [min(max(begin - context, 0), len(frames) - length) for begin in begins]
    batch = torch.stack([frames[start : start + length] for start in starts], dim=1)
    output = _in_halves(function, batch)
    parts = [
        output[begin - start : begin - start + own, number]
        for number, (begin, start) in enumerate(zip(begins, starts, strict=True))
    ]
    return torch.cat(parts)[:wanted]


def _in_halves(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Apply a function to a batch of sequences; in halves where a device lacks the memory."""
    try:
        return function(batch)
    except torch.cuda.OutOfMemoryError:
        if batch.shape[1] == 1:
            raise
    halves = batch.tensor_split(2, dim=1)
    return torch.cat([_in_halves(function, half) for half in halves], dim=1)
