"""The networks of a separator as the engine runs them: encode, run recurrent layers, decode.

Only the second step depends on other frames, so only it needs chunks and lookahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from openunmix.model import BandUnmix, OpenUnmix, Separator
from openunmix.predict._bands import BandNetworks
from openunmix.predict._folded import FoldedNetworks
from openunmix.predict._runtime import SEQUENTIAL, Tasks


class ModuleNetworks:
    """Any modules from magnitude to magnitude, (batch, channels, bins, frames), as networks.

    A module is the trunk and its estimate the hidden state; encoding and decoding do nothing. It
    takes segments of ``segment`` frames, or all at once, and ``lookahead`` frames on both sides.
    """

    stride = 1  #: Frames that a chunk must have multiples of.
    causal = False  # as far as is known

    def __init__(
        self,
        modules: Iterable[torch.nn.Module],
        channels: int,
        segment: int | None = None,
        lookahead: int = 0,
    ) -> None:
        self.modules = list(modules)
        self.trunk_of = range(len(self.modules))
        self.channels = channels
        self.segment = segment
        self.lookahead = lookahead

    def encode(self, magnitude: Tensor) -> Tensor:
        """Return the magnitude itself, flattened to (frames, channels * bins)."""
        return magnitude.flatten(1)

    def run_recurrent(
        self,
        trunk: int,
        features: Tensor,
        frames: int,
        state: Tensor | None,
        tasks: Tasks = SEQUENTIAL,
    ) -> tuple[Tensor, Tensor]:
        """Run a module on segments; the state is the last ``lookahead`` frames before."""
        before = features[:0] if state is None else state
        last = len(before) + frames
        seen = torch.cat([before, features])

        def run(batch: Tensor) -> Tensor:
            magnitude = batch.reshape(*batch.shape[:2], self.channels, -1).permute(1, 2, 3, 0)
            estimate: Tensor = self.modules[trunk](magnitude)
            return estimate.permute(3, 0, 1, 2).flatten(2)

        output = in_segments(run, seen, len(before), last, self.segment, self.lookahead)
        return output, seen[max(last - self.lookahead, 0) : last].clone()

    def decode(
        self, network: int, features: Tensor, hidden: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Write the module's own estimate."""
        out.copy_(hidden.reshape(magnitude.shape))


#: The networks of all targets, with the methods ``encode``, ``run_recurrent`` and ``decode``.
Networks: TypeAlias = FoldedNetworks | BandNetworks | ModuleNetworks


def networks_of(
    separator: Separator, dtype: torch.dtype, segment: int | None, lookahead: int
) -> Networks:
    """Return the separator's networks, fast ones if all are of one class; no segment is exact."""
    modules = list(separator.target_models.values())
    exact = segment is None
    if any(module.training for module in modules):
        raise ValueError("networks must be in evaluation mode; call .eval() or .freeze() first")
    own = [module for module in modules if _is_plain(module, OpenUnmix)]
    if len(own) == len(modules):
        return FoldedNetworks(own, dtype, separator.bridged, exact)
    bands = [module for module in modules if _is_plain(module, BandUnmix)]
    if len(bands) == len(modules):
        return BandNetworks(bands, dtype, exact)
    return ModuleNetworks(modules, separator.nb_channels, segment, lookahead)


Network = TypeVar("Network", bound=nn.Module)


def _is_plain(network: nn.Module, kind: type[Network]) -> TypeGuard[Network]:
    """Whether a network is of a class itself, and no layer of it was replaced (quantised)."""
    homes = ("openunmix.model", "torch.nn.modules")
    layers = (type(layer).__module__ for layer in network.modules())
    return type(network) is kind and all(home.startswith(homes) for home in layers)


def in_segments(
    function: Callable[[Tensor], Tensor],
    frames: Tensor,
    first: int,
    last: int,
    longest: int | None,
    lookahead: int,
) -> Tensor:
    """Apply a function of (frames, batch, features) to frames ``first`` to ``last - 1``.

    They are cut into segments of equal length, at most ``longest`` frames, which see ``lookahead``
    frames on both sides as far as (frames, features) have them; without ``longest`` there is one
    segment, which sees everything.
    """
    wanted = last - first
    count = 1 if longest is None else -(-wanted // longest)
    own = -(-wanted // count)
    length = len(frames) if longest is None else min(own + 2 * lookahead, len(frames))
    begins = [first + number * own for number in range(count)]
    # Equal lengths form a batch: at the edges a segment is shifted inwards and sees more there.
    starts = [min(max(begin - lookahead, 0), len(frames) - length) for begin in begins]
    batch = torch.stack([frames[start : start + length] for start in starts], dim=1)
    output = _in_halves(function, batch)
    parts = [
        output[begin - start : begin - start + own, number]
        for number, (begin, start) in enumerate(zip(begins, starts, strict=True))
    ]
    return torch.cat(parts)[:wanted]


def _in_halves(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Apply a function to (frames, batch, features), in halves if a GPU runs out of memory."""
    try:
        return function(batch)
    except torch.cuda.OutOfMemoryError:
        if batch.shape[1] == 1:
            raise
    halves = batch.tensor_split(2, dim=1)
    return torch.cat([_in_halves(function, half) for half in halves], dim=1)
