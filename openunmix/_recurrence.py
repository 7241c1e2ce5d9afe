"""A recurrent layer over a long sequence, cut into four that are computed together.

The products of one sequence take a vector at a time, so that the weights are fetched anew for every
frame; those of four sequences take them together. All but the first sequence begin some frames
early and without a state. Where the one before has arrived, both must agree; where they do not, the
layer goes on from the true state until they do.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["State", "run_layer"]

#: Output and cell (1, hidden) of a layer at its last frame.
State: TypeAlias = tuple[Tensor, Tensor]

# More sequences take more frames than they save time.
_SEQUENCES = 4
# Frames by which sequences begin early, and the last of them, in which outputs are compared.
_WARMUP = 256
_COMPARED = 128
# Largest difference of outputs, which are between -1 and 1, that counts as agreement; in bfloat16
# some steps of its rounding do.
_TOLERANCE = 3e-4
_STEPS = 4


def run_layer(
    layer: nn.LSTM, frames: Tensor, state: State | None = None, exact: bool = False
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
    exact : bool
        Whether to compute one sequence; a few frames are in any case.

    Returns
    -------
    output : Tensor [shape=(frames, hidden)], real
        The output at every frame.
    state : State
        The state after the last frame.
    """
    count = len(frames)
    if exact or count < 2 * _SEQUENCES * _WARMUP:
        return layer(frames, state)  # type: ignore[no-any-return]
    length = -(-(count + (_SEQUENCES - 1) * _WARMUP) // _SEQUENCES)
    starts = [min(i * (length - _WARMUP), count - length) for i in range(_SEQUENCES)]
    batch = torch.stack([frames[start : start + length] for start in starts], dim=1)
    begin = frames.new_zeros(2, 1, _SEQUENCES, layer.hidden_size)
    if state is not None:
        begin[:, :, 0] = torch.stack(state)
    output, after = layer(batch, tuple(begin))
    del batch  # memory counts here
    output, states = output.transpose(0, 1), torch.stack(after).unbind(dim=2)

    joined, known, before = [output[0]], output[0], states[0]
    for start, end, guess, guessed in zip(starts[1:], starts, output[1:], states[1:], strict=False):
        own = end + length - start  # the first frame that the sequence before has not
        following = frames[start + own : start + length]
        redone, state_then = _redo(layer, following, before, known, guess, own)
        joined += [redone, guess[own + len(redone) :]]
        known = torch.cat(joined[-2:])[-_COMPARED:]
        before = guessed if state_then is None else state_then
    return torch.cat(joined), (before[0], before[1])


def _redo(
    layer: nn.LSTM, frames: Tensor, before: Tensor, known: Tensor, guess: Tensor, own: int
) -> tuple[Tensor, Tensor | None]:
    """Go on from a true state until a guess is true: outputs till then, the state at the end."""
    tolerance = max(_TOLERANCE, _STEPS * torch.finfo(frames.dtype).eps)
    done: list[Tensor] = []
    for chunk in torch.split(frames, _WARMUP):
        arrived = own + sum(map(len, done))
        seen = min(_COMPARED, len(known), arrived)
        difference = known[-seen:] - guess[arrived - seen : arrived]
        if float(difference.abs().max()) < tolerance:
            return torch.cat([known[:0], *done]), None
        known, after = layer(chunk, tuple(before))
        before = torch.stack(after)
        done.append(known)
    return torch.cat([known[:0], *done]), before
