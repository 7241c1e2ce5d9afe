"""Matrices of weights in four bits a value, as ``umx-models convert --dtype int4`` stores them.

The last axis is cut into groups of 32 values. Of a group the smallest value, ``offset``, and the
distance of neighbouring levels, ``step``, are kept as float16; of a value, how many steps it is
above the offset: 0 to 15 [1]_. Two of these numbers share a byte, the first one its lower half.
A file has these codes in place of ``NAME``, and beside them ``NAME.step`` and ``NAME.offset``.
Vectors are float16, if their values fit.

References
----------
.. [1] T. Dettmers, L. Zettlemoyer, "The case for 4-bit precision: k-bit inference scaling laws",
   ICML 2023, on why small groups have a scale of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.uint8]
Half: TypeAlias = NDArray[np.float16]

GROUP = 32
_LEVELS = 16


def pack(matrix: NDArray[np.float32]) -> tuple[Codes, Half, Half]:
    """Quantise (..., columns), an even number of them: codes, steps and offsets of groups.

    Codes are uint8 (..., columns / 2), the others float16 (..., groups). ValueError if float16
    cannot hold them.
    """
    columns = matrix.shape[-1]
    groups = -(-columns // GROUP)
    widths = [(0, 0)] * (matrix.ndim - 1) + [(0, groups * GROUP - columns)]
    grouped = np.pad(matrix, widths, mode="edge").reshape(*matrix.shape[:-1], groups, GROUP)
    low, high = grouped.min(-1), grouped.max(-1)
    with np.errstate(over="ignore"):  # checked below
        offset, step = low.astype(np.float16), ((high - low) / (_LEVELS - 1)).astype(np.float16)
    if not (np.isfinite(offset).all() and np.isfinite(step).all()):
        raise ValueError("values are too large for float16")
    divisor = np.where(step > 0, step, 1).astype(np.float32)[..., None]
    codes = np.rint((grouped - offset.astype(np.float32)[..., None]) / divisor)
    codes = codes.clip(0, _LEVELS - 1).astype(np.uint8)
    codes = codes.reshape(*matrix.shape[:-1], -1)[..., :columns]
    return codes[..., 0::2] | codes[..., 1::2] << 4, step, offset


def unpack(codes: Codes, step: Half, offset: Half) -> NDArray[np.float32]:
    """Return the matrix (..., columns); ValueError if the three do not fit each other."""
    columns = 2 * codes.shape[-1] if codes.ndim else 0
    expected = (*codes.shape[:-1], -(-columns // GROUP))
    if codes.dtype != np.uint8 or not columns or not step.shape == offset.shape == expected:
        raise ValueError(
            f"codes {codes.shape}, steps {step.shape} and offsets {offset.shape} do not fit"
        )
    levels = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:-1], columns)
    steps, offsets = (
        np.repeat(x.astype(np.float32), GROUP, axis=-1)[..., :columns] for x in (step, offset)
    )
    return offsets + steps * levels.astype(np.float32)


def unpack_state(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return named arrays: matrices in place of codes, float32 in place of float16.

    ValueError if parts of a matrix do not fit each other.
    """
    found = dict(state)
    for name in [name for name, values in state.items() if values.dtype == np.uint8]:
        parts = [found.pop(key, np.empty(0)) for key in keys_of(name)]
        try:
            found[name] = unpack(*parts)
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
    half = [name for name, values in found.items() if values.dtype == np.float16]
    return found | {name: found[name].astype(np.float32) for name in half}


def keys_of(name: str) -> tuple[str, str, str]:
    """Return the keys of codes, steps and offsets of a matrix."""
    return name, f"{name}.step", f"{name}.offset"
