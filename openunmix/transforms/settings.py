"""Settings of modules that are stored as tensors, for the state dict of 1.3.0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class ExactSettings(nn.Module):
    """Module some of whose tensors are settings: they are never rounded to 16 bits.

    ``half()`` would turn a sample rate of 44100 Hz into 44096 Hz.
    """

    #: Names of the buffers and parameters that are settings.
    settings: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Convert or move all tensors; settings keep their type unless it is float32 or 64."""
        before = {name: tensor.detach() for name, tensor in self._settings()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, tensor in self._settings():
            if tensor.dtype not in (torch.float32, torch.float64):
                tensor.data = before[name].to(tensor.device)
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *options: Any
    ) -> None:
        """Load; settings that are the present ones, rounded, do not replace them."""
        for name, tensor in self._settings():
            given = state_dict.get(f"{prefix}{name}", tensor)
            if given.dtype != tensor.dtype and given.equal(tensor.to(given)):
                state_dict[f"{prefix}{name}"] = tensor
        super()._load_from_state_dict(state_dict, prefix, *options)

    def _settings(self) -> list[tuple[str, Tensor]]:
        """Names and tensors of the settings that this module has."""
        tensors = [(name, getattr(self, name)) for name in self.settings]
        return [(name, tensor) for name, tensor in tensors if tensor is not None]
