"""The networks of a separator as the engine runs them: three steps, one of which looks around."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from openunmix._folded import FoldedNetworks
from openunmix.model import OpenUnmix, Separator

__all__ = ["ModuleNetworks", "Networks", "networks_of"]


class Networks(Protocol):
    """What the engine needs of the networks: three steps, of which one looks at its neighbours."""

    def encode(self, magnitude: Tensor) -> list[Tensor]:
        """Code of each frame: (frames, channels, bins) to (frames, code), for each network."""

    def recur(self, index: int, codes: Tensor) -> Tensor:
        """Look at neighbours: (frames, batch, code) to (frames, batch, context)."""

    def decode(
        self, index: int, code: Tensor, context: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Estimate frame by frame: write the target's magnitude (frames, channels, bins)."""


class ModuleNetworks:
    """Any modules from magnitude to magnitude as networks; their context is their estimate.

    Parameters
    ----------
    modules : iterable of nn.Module
        One per target, from (batch, channels, bins, frames) to the same. They see the engine's
        frames of context on both sides of each sequence.
    channels : int
        Audio channels.
    """

    def __init__(self, modules: Iterable[torch.nn.Module], channels: int) -> None:
        self.modules = list(modules)
        if any(module.training for module in self.modules):
            raise ValueError("networks must be in evaluation mode; call .eval() or .freeze() first")
        self.channels = channels

    def encode(self, magnitude: Tensor) -> list[Tensor]:
        """Return the magnitude itself for each module."""
        return [magnitude.flatten(1)] * len(self.modules)

    def recur(self, index: int, codes: Tensor) -> Tensor:
        """Run a module on sequences of magnitudes."""
        magnitude = codes.reshape(*codes.shape[:2], self.channels, -1).permute(1, 2, 3, 0)
        estimate: Tensor = self.modules[index](magnitude)
        return estimate.permute(3, 0, 1, 2).flatten(2)

    def decode(
        self, index: int, code: Tensor, context: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Write what the module gave."""
        out.copy_(context.reshape(magnitude.shape))


def networks_of(separator: Separator, dtype: torch.dtype) -> Networks:
    """Return the separator's networks, folded where they are Open-Unmix's own."""
    modules = list(separator.target_models.values())
    own = [module for module in modules if type(module) is OpenUnmix]
    if len(own) == len(modules):
        return FoldedNetworks(own, dtype)
    return ModuleNetworks(modules, separator.nb_channels)
