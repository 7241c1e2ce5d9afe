"""Rooms to speak in: impulse responses of simulated rooms, from the first sound on."""

from __future__ import annotations

import numpy as np
import pyroomacoustics
from voices import SAMPLE_RATE

__all__ = ["ROOM_SECONDS", "simulated_rooms"]

ROOM_SECONDS = 0.5

_LONGEST = 17  # reflections to follow: more hardly changes what is heard, and takes long


def simulated_rooms(count: int, seed: int) -> np.ndarray:
    """Simulate one speaker and one microphone in each of some rooms.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        What to draw sizes, reverberation times (0.15 s to 0.6 s) and places from.

    Returns
    -------
    numpy.ndarray [shape=(count, samples)], float32
        Impulse responses of 0.5 s and energy 1, the direct sound first.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_response(rng) for _ in range(count)]).astype(np.float32)


def _response(rng: np.random.Generator) -> np.ndarray:
    """Impulse response (samples,) of a room."""
    size = rng.uniform([3.0, 2.5, 2.3], [9.0, 7.0, 3.5])
    try:
        absorption, order = pyroomacoustics.inverse_sabine(rng.uniform(0.15, 0.6), size)
    except ValueError:  # so large a room cannot be so dry
        absorption, order = 0.9, 3
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, _LONGEST),
    )
    speaker = rng.uniform(0.5, size - 0.5)
    distance, angle = rng.uniform(0.3, 2.5), rng.uniform(0, 2 * np.pi)
    offset = distance * np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.2, 0.2)])
    room.add_source(speaker)
    room.add_microphone(np.clip(speaker + offset, 0.2, size - 0.2))
    room.compute_rir()
    response = room.rir[0][0]
    peak = int(np.abs(response).argmax())
    onset = max(0, peak - 8)
    samples = round(ROOM_SECONDS * SAMPLE_RATE)
    kept = np.zeros(samples)
    found = response[onset : onset + samples]
    kept[: len(found)] = found
    return kept / np.sqrt(np.square(kept).sum())
