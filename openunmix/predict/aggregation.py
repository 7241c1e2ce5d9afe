"""Outputs made of estimates: the residual, and sums under new names."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TypeVar

import numpy as np
from torch import Tensor

Waveform = TypeVar("Waveform", Tensor, np.ndarray)


def resolve_aggregation(
    targets: Sequence[str],
    residual: str | None = None,
    aggregation: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Names of all outputs and the estimates summed for each; ValueError for unknown estimates."""
    available = [*targets, *([] if residual is None else [residual])]
    if len(set(available)) < len(available):
        raise ValueError(f"the residual cannot be called {residual!r}: a target is")
    if aggregation is None:
        return {name: [name] for name in available}
    if not aggregation:
        raise ValueError(f"there are no sums to make: choose from {available}")
    for name, parts in aggregation.items():
        if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(available):
            raise ValueError(
                f"cannot make {name!r} from {list(parts)}: choose from {available}, each once"
            )
    return {name: list(parts) for name, parts in aggregation.items()}


def aggregate(
    mixture: Waveform,
    estimates: Mapping[str, Waveform],
    aggregation: Mapping[str, Sequence[str]],
    residual: str | None = None,
) -> dict[str, Waveform]:
    """Return the outputs (channels, samples) by name: sums of estimates and residual.

    The residual is what the estimates, as they are written, lack of the mixture: all of them sum
    to it up to rounding, whatever the sample rates and the number of iterations.
    """
    available = dict(estimates)
    if residual is not None:
        available[residual] = mixture - reduce(operator.add, estimates.values())
    return {
        name: reduce(operator.add, [available[part] for part in parts])
        for name, parts in aggregation.items()
    }
