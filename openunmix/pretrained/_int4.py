"""Matrices of weights in four bits a value, as ``umx-models convert --dtype int4`` stores them.

The last axis is cut into groups of 32 values. Of a group the lowest of 16 levels, ``offset``, and
the distance of neighbouring levels, ``step``, are kept as float16; of a value, how many steps it is
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
Values: TypeAlias = NDArray[np.float32]

GROUP = 32
_LEVELS = 16
# Levels begin as equal parts of a group's range, and are fitted to the values nearest to each.
_FITS = 4


def pack(matrix: Values) -> tuple[Codes, Half, Half]:
    """Quantise (..., columns), an even number of them: codes, steps and offsets of groups.

    Codes are uint8 (..., columns / 2), the others float16 (..., groups). ValueError if float16
    cannot hold them.
    """
    columns = matrix.shape[-1]
    groups = -(-columns // GROUP)
    widths = [(0, 0)] * (matrix.ndim - 1) + [(0, groups * GROUP - columns)]
    grouped = np.pad(matrix, widths, mode="symmetric").reshape(*matrix.shape[:-1], groups, GROUP)
    offset = grouped.min(-1)
    step = (grouped.max(-1) - offset) / (_LEVELS - 1)
    for _ in range(_FITS):
        step, offset = _fit(grouped, _nearest(grouped, step, offset))
    with np.errstate(over="ignore"):  # checked below
        steps, offsets = step.astype(np.float16), offset.astype(np.float16)
    if not (np.isfinite(offsets).all() and np.isfinite(steps).all()):
        raise ValueError("values are too large for float16")
    nearest = _nearest(grouped, steps.astype(np.float32), offsets.astype(np.float32))
    codes: Codes = nearest.astype(np.uint8).reshape(*matrix.shape[:-1], -1)[..., :columns]
    return codes[..., 0::2] | codes[..., 1::2] << np.uint8(4), steps, offsets


def _nearest(values: Values, step: Values, offset: Values) -> Values:
    """Return the codes of the levels nearest to values (..., 32)."""
    divisor = np.where(step > 0, step, 1)[..., None]
    return np.rint((values - offset[..., None]) / divisor).clip(0, _LEVELS - 1)


def _fit(values: Values, codes: Values) -> tuple[Values, Values]:
    """Return the steps and offsets with which codes (..., 32) are nearest to values."""
    centred = codes - codes.mean(-1, keepdims=True)
    power = (centred**2).sum(-1)
    step = (centred * values).sum(-1) / np.where(power > 0, power, 1)
    return step, values.mean(-1) - step * codes.mean(-1)


def unpack(codes: Codes, step: Half, offset: Half) -> Values:
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
