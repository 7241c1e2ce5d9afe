"""What Python programs hand over as a waveform or a sample rate."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: A tensor, an array, or lists of numbers.
Waveform: TypeAlias = Tensor | npt.ArrayLike


def as_waveform(audio: Waveform) -> Tensor:
    """Return a floating-point tensor of what numpy or torch can read as floating-point numbers.

    Raises ValueError for integers, whose full scale is unknown, and TypeError for anything else.
    """
    if isinstance(audio, (list, tuple)) and audio and all(isinstance(x, Tensor) for x in audio):
        audio = torch.stack(audio)
    if isinstance(audio, Tensor):
        kind, is_float = str(audio.dtype), audio.is_floating_point()
    else:
        audio = _as_array(audio)
        kind, is_float = str(audio.dtype), audio.dtype.kind == "f"
    if not is_float:
        raise ValueError(
            f"audio is of {kind}, expected floating point; divide it by its full scale"
        )
    if isinstance(audio, Tensor):
        return audio if audio.layout == torch.strided else audio.to_dense()
    # A copy in a type of torch: it has no other byte order, no float128 and no negative strides,
    # and warns of read-only arrays.
    return torch.from_numpy(audio.astype("f4" if audio.itemsize < 8 else "f8", order="C"))


def _as_array(audio: Any) -> np.ndarray:
    """Return an array of numbers; TypeError for what is none."""
    try:
        array = np.asarray(audio)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiub":
        kind = type(audio).__name__
        kind = f"{kind} of {array.dtype}" if isinstance(audio, np.ndarray) else kind
        raise TypeError(
            f"audio is {kind}, expected a tensor, an array or lists of equally many real numbers; "
            "give a file by its path"
        )
    return array


def whole_hertz(name: str, sample_rate: Any) -> int:
    """Return a sample rate; ValueError unless it is one positive whole number."""
    try:
        hertz = 0.0 if isinstance(sample_rate, (str, bytes, bool)) else float(sample_rate)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
        hertz = 0.0
    if not (hertz > 0 and hertz.is_integer()):
        raise ValueError(f"{name}={sample_rate!r} must be a positive whole number of Hz")
    return int(hertz)
