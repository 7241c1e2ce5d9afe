"""Channel layouts, and the downmix to stereo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Block = npt.NDArray[np.float32]  # (channels, samples)

# The order of WAV, which FLAC and FFmpeg share, with FFmpeg's names.
_LAYOUTS: dict[int, tuple[str, ...]] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}

# Vorbis I specification, section 4.3.9; Opus takes over the same order (RFC 7845).
_VORBIS_LAYOUTS: dict[int, tuple[str, ...]] = {
    3: ("FL", "FC", "FR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}

_HALF_POWER = 0.5**0.5
# Weights of a channel in (left, right), Recommendation ITU-R BS.775-3, "Multichannel stereophonic
# sound system with and without accompanying picture", table 2, 2012. Channels that are not in
# the table (side, height, wide) count as surround channels of their side. Of first-order ambisonics
# (SN3D) the stereo downmix is a pair of cardioids to the left and the right, (W + Y) / 2.
_WEIGHTS: dict[str, tuple[float, float]] = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "BC": (0.5, 0.5),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "UNSD": (0.0, 0.0),  # unused
    "AMBI0": (0.5, 0.5),
    "AMBI1": (0.5, -0.5),
}


def default_layout(channels: int) -> tuple[str, ...]:
    """Names of the channels in the order of WAV, if a file does not name them; () beyond eight."""
    return _LAYOUTS.get(channels, ())


def order_of_vorbis(channels: int) -> list[int]:
    """Return the indices that bring the channels of Vorbis and Opus to the order of WAV."""
    stored = _VORBIS_LAYOUTS.get(channels)
    if stored is None:
        return list(range(channels))
    return [stored.index(name) for name in default_layout(channels)]


def _weights(name: str) -> tuple[float, float]:
    """Weights of a channel in (left, right)."""
    if name in _WEIGHTS:
        return _WEIGHTS[name]
    if name.startswith("AMBI"):
        return (0.0, 0.0)
    if "L" in name:  # BL, SL, TFL, FLC
        return (_HALF_POWER, 0.0)
    if "R" in name:
        return (0.0, _HALF_POWER)
    return (0.5, 0.5)


def downmix_to_stereo(block: Block, layout: Sequence[str] | None = None) -> Block:
    """Downmix of a block to stereo by ITU-R BS.775, shape (channels, samples) to (2, samples).

    Left is ``FL + 0.7071 FC + 0.7071 BL``, right likewise; a single surround channel
    has the weight 0.5 in both, the low-frequency channel 0. Not normalised: the front
    channels keep their level, and the result may exceed 1. One or two channels are returned
    as they are. `layout` names the channels; by default, they are in the order of WAV.
    """
    channels = block.shape[0]
    if channels <= 2:
        return block
    names = tuple(layout) if layout else default_layout(channels)
    if len(names) != channels:
        raise ValueError(
            f"cannot downmix {channels} channels with the layout {names or 'unknown'}: "
            "name each channel (FL, FR, FC, LFE, BL, BR, SL, SR, ...) or give at most 8"
        )
    matrix = np.array([_weights(name) for name in names], dtype=np.float32).T
    return np.asarray(matrix @ block, dtype=np.float32)
