"""Weights of OpenUnmix with the normalisations folded in, of torch and of numpy arrays alike.

:mod:`openunmix.predict._folded` has the formula. This file needs no torch, so that a model can be
exported where torch is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = TypeVar("Array", Tensor, np.ndarray[Any, Any])

_EPS = 1e-5  # of all batch normalisations


def fold_encoder(state: Mapping[str, Array], channels: int) -> tuple[Array, Array]:
    """Return A_1 (hidden, channels, bins) and b_1 of the weights of a network, by name."""
    scale, offset = _normalisation(state, "bn1")
    # scale W ((x + shift) gain) + offset = scale (W gain) x + scale (W gain) shift + offset
    weight = state["fc1.weight"].reshape(len(scale), channels, -1) * state["input_scale"]
    bias = scale * (weight @ state["input_mean"]).sum(-1) + offset
    return scale[:, None, None] * weight, bias


def fold_mixer(state: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return A_2 and b_2: scale (W x) + offset."""
    scale, offset = _normalisation(state, "bn2")
    return scale[:, None] * state["fc2.weight"], offset


def fold_decoder(state: Mapping[str, Array], channels: int) -> tuple[Array, Array]:
    """Return A_3 and b_3: gain (scale W x + offset) + shift."""
    scale, offset = (part.reshape(channels, -1) for part in _normalisation(state, "bn3"))
    gain, shift = state["output_scale"], state["output_mean"]
    weight = (gain * scale).reshape(-1)[:, None] * state["fc3.weight"]
    return weight, (gain * offset + shift).reshape(-1)


def _normalisation(state: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    """Scale and offset (features,) of a batch normalisation at inference."""
    # g (x - mean) / sqrt(var + eps) + b = scale x + (b - scale mean)
    scale = state[f"{name}.weight"] / (state[f"{name}.running_var"] + _EPS) ** 0.5
    return scale, state[f"{name}.bias"] - scale * state[f"{name}.running_mean"]
