"""A recurrent layer over a long sequence, cut into a few that are computed together.

The products of one sequence take a vector at a time, so that its weights are fetched anew for
every frame; those of three sequences take them together. Each sequence but the first begins some
frames early, without a state, and forgets that until its own frames come.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["State", "run_layer"]

#: Output and cell (1, hidden) of a layer at its last frame.
State: TypeAlias = tuple[Tensor, Tensor]

# More cost more frames than they save time.
_SEQUENCES = 3


def run_layer(
    layer: nn.LSTM, frames: Tensor, state: State | None = None, warmup: int | None = None
) -> tuple[Tensor, State]:
    """Run a layer over frames.

    Parameters
    ----------
    layer : nn.LSTM
        One layer of one direction.
    frames : Tensor [shape=(frames, features)], real
        What it is given.
    state : State, optional
        Of the layer before the first frame.
    warmup : int, optional
        Frames, at least, by which a sequence begins early; if none, or if they are more than a
        third of the frames, there is only one sequence, and the result is exact.

    Returns
    -------
    output : Tensor [shape=(frames, hidden)], real
        The output at every frame.
    state : State
        The state after the last frame.
    """
    count = len(frames)
    if not warmup or count < _SEQUENCES * warmup:
        return layer(frames, state)  # type: ignore[no-any-return]
    length = -(-(count + (_SEQUENCES - 1) * warmup) // _SEQUENCES)
    starts = [min(i * (length - warmup), count - length) for i in range(_SEQUENCES)]
    batch = torch.stack([frames[start : start + length] for start in starts], dim=1)
    begin = frames.new_zeros(2, 1, _SEQUENCES, layer.hidden_size)
    if state is not None:
        begin[:, :, 0] = torch.stack(state)
    output, (last, cell) = layer(batch, tuple(begin))
    ends = [0, *(start + length for start in starts)]
    own = [output[ends[i] - start :, i] for i, start in enumerate(starts)]
    return torch.cat(own), (last[:, -1], cell[:, -1])
