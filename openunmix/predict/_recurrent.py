"""One direction of an LSTM layer over many frames, as four sequences at once.

A recurrent step multiplies a matrix by a vector, so reading the weights from memory dominates;
a batch of sequences reads them once. All sequences but the first start early, from a zero state.
An LSTM forgets its state: where the previous sequence ends, both have computed the same frames,
and equal outputs there validate the rest. Otherwise the layer continues from the true state until
outputs agree. With trained networks that recomputes some 8 % of the frames.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from openunmix.predict._runtime import SEQUENTIAL, Tasks

#: Output and cell (1, hidden) of a layer at its last frame.
State: TypeAlias = tuple[Tensor, Tensor]

# More sequences recompute more frames than they save time.
_SEQUENCES = 4
# Frames by which a sequence starts early, and the last of them, whose outputs are compared.
_WARMUP = 256
_COMPARED = 128
# Largest difference between equal outputs, which lie within (-1, 1): absolute, and in rounding
# steps of the number format, which is what counts in bfloat16.
_TOLERANCE = 3e-4
_STEPS = 4


def run_directions(
    directions: Sequence[nn.LSTM],
    x: Tensor,
    frames: int,
    before: State | None,
    exact: bool,
    tasks: Tasks = SEQUENTIAL,
) -> tuple[Tensor, State]:
    """Run a layer over ``frames`` and the lookahead after them: (frames + lookahead, features).

    The forward direction begins with the state before the first frame; its state after the last of
    ``frames`` is returned. The backward direction begins at the end with a zero state.
    """

    def run(direction: int) -> tuple[Tensor, State]:
        layer = directions[direction]
        if direction == 1:
            reverse, state = run_layer(layer, x.flip(0), exact=exact)
            return reverse.flip(0), state
        outputs, state = run_layer(layer, x[:frames], before, exact)
        if len(x) > frames:  # the next layer's backward direction needs the lookahead, too
            ahead, _ = run_layer(layer, x[frames:], state, exact)
            outputs = torch.cat([outputs, ahead])
        return outputs, state

    results = tasks.map(run, range(len(directions)))
    return torch.cat([outputs for outputs, _ in results], dim=-1), results[0][1]


def run_layer(
    layer: nn.LSTM, frames: Tensor, state: State | None = None, exact: bool = False
) -> tuple[Tensor, State]:
    """Run a layer from a state over (frames, features); return (frames, hidden) and the new state.

    ``exact`` and a few frames run as a single sequence.
    """
    count = len(frames)
    if exact or count < 2 * _SEQUENCES * _WARMUP:
        return layer(frames, state)  # type: ignore[no-any-return]
    # S sequences that overlap by W frames cover S * length - (S - 1) * W >= count frames.
    length = -(-(count + (_SEQUENCES - 1) * _WARMUP) // _SEQUENCES)
    starts = [min(i * (length - _WARMUP), count - length) for i in range(_SEQUENCES)]
    batch = torch.stack([frames[start : start + length] for start in starts], dim=1)
    initial = frames.new_zeros(2, 1, _SEQUENCES, layer.hidden_size)
    if state is not None:
        initial[:, :, 0] = torch.stack(state)
    output, final = layer(batch, tuple(initial))
    del batch  # lowers the peak of memory
    output, states = output.transpose(0, 1), torch.stack(final).unbind(dim=2)

    joined, true, true_state = [output[0]], output[0], states[0]
    for previous, start, guess, guess_state in zip(
        starts, starts[1:], output[1:], states[1:], strict=False
    ):
        shared = previous + length - start  # frames that the previous sequence has computed, too
        rest = frames[start + shared : start + length]
        redone, redone_state = _redo(layer, rest, true_state, true, guess, shared)
        joined += [redone, guess[shared + len(redone) :]]
        true = torch.cat(joined[-2:])[-_COMPARED:]
        true_state = guess_state if redone_state is None else redone_state
    return torch.cat(joined), (true_state[0], true_state[1])


def _redo(
    layer: nn.LSTM, frames: Tensor, state: Tensor, true: Tensor, guess: Tensor, shared: int
) -> tuple[Tensor, Tensor | None]:
    """Continue from a true state until outputs agree with a guess.

    Returns the outputs up to there, and the state if no agreement was found before the end.
    ``true`` ends and ``frames`` begin at frame ``shared`` of the guess.
    """
    tolerance = max(_TOLERANCE, _STEPS * torch.finfo(frames.dtype).eps)
    redone: list[Tensor] = []
    for chunk in torch.split(frames, _WARMUP):
        position = shared + sum(map(len, redone))  # first frame of the chunk within the guess
        compared = min(_COMPARED, len(true), position)
        difference = true[-compared:] - guess[position - compared : position]
        if float(difference.abs().max()) < tolerance:
            return torch.cat([true[:0], *redone]), None
        true, after = layer(chunk, tuple(state))
        state = torch.stack(after)
        redone.append(true)
    return torch.cat([true[:0], *redone]), state


def split_lstm(lstm: nn.LSTM, dtype: torch.dtype) -> list[list[nn.LSTM]]:
    """Split an LSTM into layers, each a forward and, if it is bidirectional, a backward one."""
    directions = ["", "_reverse"] if lstm.bidirectional else [""]
    return [
        [_layer(lstm, f"_l{number}{direction}", dtype) for direction in directions]
        for number in range(lstm.num_layers)
    ]


def _layer(lstm: nn.LSTM, suffix: str, dtype: torch.dtype) -> nn.LSTM:
    """Return one direction of a layer; in float32 on a CPU it uses the network's own weights."""
    weights = {
        name: getattr(lstm, name + suffix).detach().to(dtype)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    features = weights["weight_ih"].shape[1]
    # On the meta device nothing is allocated, and no random numbers are drawn.
    layer = nn.LSTM(features, lstm.hidden_size, device="meta", dtype=dtype)
    for name, weight in weights.items():
        setattr(layer, f"{name}_l0", nn.Parameter(weight, requires_grad=False))
    if lstm.weight_ih_l0.is_cuda:  # cuDNN needs the weights contiguous in one buffer: copies
        layer = copy.deepcopy(layer)
        layer.flatten_parameters()
    return layer
