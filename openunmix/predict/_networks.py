"""The networks of a separator as the engine runs them: three steps, one of which looks around."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from openunmix.model import OpenUnmix, Separator
from openunmix.predict._folded import FoldedNetworks

__all__ = ["ModuleNetworks", "Networks", "in_sequences", "networks_of"]


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


class Networks(Protocol):
    """What the engine needs of the networks: three steps, of which one looks at its neighbours."""

    @property
    def contexts(self) -> Sequence[int]:
        """Index of the context of each network; some may share one."""

    def encode(self, magnitude: Tensor) -> Tensor:
        """Look at each frame alone: (frames, channels, bins) to (frames, codes of all)."""

    def recur(self, index: int, codes: Tensor, frames: int, state: Any) -> tuple[Tensor, Any]:
        """Make a context: (frames + later ones, codes) to (frames, hidden), and the state after."""

    def decode(
        self, index: int, codes: Tensor, context: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Estimate frame by frame: write the target's magnitude (frames, channels, bins)."""


class ModuleNetworks:
    """Any modules from magnitude to magnitude as networks; their context is their estimate.

    Parameters
    ----------
    modules : iterable of nn.Module
        One per target, from (batch, channels, bins, frames) to the same.
    channels : int
        Audio channels.
    sequence : int, optional
        Frames, at most, of the sequences that modules take; all if not given.
    context : int
        Frames that modules see beyond a sequence on both sides.
    """

    def __init__(
        self,
        modules: Iterable[torch.nn.Module],
        channels: int,
        sequence: int | None = None,
        context: int = 0,
    ) -> None:
        self.modules = list(modules)
        self.contexts = range(len(self.modules))
        if any(module.training for module in self.modules):
            raise ValueError("networks must be in evaluation mode; call .eval() or .freeze() first")
        self.channels = channels
        self.sequence = sequence
        self.context = context

    def encode(self, magnitude: Tensor) -> Tensor:
        """Return the magnitude itself."""
        return magnitude.flatten(1)

    def recur(
        self, index: int, codes: Tensor, frames: int, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run a module on magnitudes, cut into sequences; the state is the frames before."""
        before = codes[:0] if state is None else state
        last = len(before) + frames
        seen = torch.cat([before, codes])

        def run(batch: Tensor) -> Tensor:
            magnitude = batch.reshape(*batch.shape[:2], self.channels, -1).permute(1, 2, 3, 0)
            estimate: Tensor = self.modules[index](magnitude)
            return estimate.permute(3, 0, 1, 2).flatten(2)

        output = in_sequences(run, seen, len(before), last, self.sequence, self.context)
        return output, seen[max(last - self.context, 0) : last].clone()

    def decode(
        self, index: int, codes: Tensor, context: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Write what the module gave."""
        out.copy_(context.reshape(magnitude.shape))


def networks_of(
    separator: Separator, dtype: torch.dtype, sequence: int | None, context: int
) -> Networks:
    """Return the separator's networks, folded where they are Open-Unmix's own."""
    modules = list(separator.target_models.values())
    own = [module for module in modules if type(module) is OpenUnmix]
    if len(own) == len(modules):
        return FoldedNetworks(own, dtype, separator.bridged, exact=sequence is None)
    return ModuleNetworks(modules, separator.nb_channels, sequence, context)
