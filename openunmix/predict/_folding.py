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


def fold_encoder(state: Mapping[str, Array], channels: int) -> tuple[Array, Array, Array]:
    """Return the gains of the rows and of the columns of ``fc1``, (hidden,) and (bins,), and b_1.

    A_1 is ``fc1`` with both: what is stored in 16 bits need not be rounded again.
    """
    scale, offset = _normalisation(state, "bn1")
    gain, shift = state["input_scale"], state["input_mean"]
    # scale W ((x + shift) gain) + offset = scale W gain x + scale W gain shift + offset
    weight = state["fc1.weight"].reshape(len(scale), channels, -1)
    return scale, gain, scale * (weight @ (gain * shift)).sum(-1) + offset


def fold_mixer(state: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return the gains of the rows of ``fc2``, which make it A_2, and b_2."""
    return _normalisation(state, "bn2")  # scale (W x) + offset


def fold_decoder(state: Mapping[str, Array], channels: int) -> tuple[Array, Array]:
    """Return the gains of the rows of ``fc3``, which make it A_3, and b_3."""
    # gain (scale W x + offset) + shift
    scale, offset = (part.reshape(channels, -1) for part in _normalisation(state, "bn3"))
    gain, shift = state["output_scale"], state["output_mean"]
    return (gain * scale).reshape(-1), (gain * offset + shift).reshape(-1)


def _normalisation(state: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    """Scale and offset (features,) of a batch normalisation at inference."""
    # g (x - mean) / sqrt(var + eps) + b = scale x + (b - scale mean)
    scale = state[f"{name}.weight"] / (state[f"{name}.running_var"] + _EPS) ** 0.5
    return scale, state[f"{name}.bias"] - scale * state[f"{name}.running_mean"]
