"""Excerpts of recordings, noise made by the code, and speech in simulated rooms, at 16 kHz."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import irfft, rfft
from scipy.signal import fftconvolve
from voices import SAMPLE_RATE

__all__ = ["MADE", "excerpt", "in_room", "in_rooms", "make_noise", "speech_excerpt"]

#: Kinds of noise that are no recordings: other voices, and three that the code makes.
MADE = ("babble", "hum", "white", "pink")

_STAY = 10 * SAMPLE_RATE  # in one room


def excerpt(recording: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an excerpt (length,) of a recording in int16; one that is too short is repeated."""
    start = rng.integers(len(recording))
    found = recording.take(np.arange(start, start + length), mode="wrap")
    return found.astype(np.float32) / 32768


def speech_excerpt(voice: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an excerpt (length,) in which there is speech."""
    for _ in range(8):
        found = excerpt(voice, length, rng)
        if np.square(found).mean() > 3e-4:
            break
    return found


def make_noise(
    kind: str,
    length: int,
    rng: np.random.Generator,
    voices: Sequence[np.ndarray],
    rooms: np.ndarray,
) -> np.ndarray:
    """Make noise (length,) of one of :data:`MADE`; babble is four to eight voices in rooms."""
    if kind == "babble":
        return sum(
            in_room(excerpt(voices[i], length, rng), rooms[rng.integers(len(rooms))])
            for i in rng.integers(len(voices), size=rng.integers(4, 9))
        )
    if kind == "hum":
        return _hum(length, rng)
    return _coloured(length, 0.0 if kind == "white" else rng.uniform(0.7, 2.2), rng)


def _coloured(length: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Make noise (length,) whose power falls as frequency to the power of ``slope``."""
    spectrum = rfft(rng.standard_normal(length))
    spectrum *= np.arange(1, len(spectrum) + 1) ** (-slope / 2)
    return irfft(spectrum, length)


def _hum(length: int, rng: np.random.Generator) -> np.ndarray:
    """Make the hum of mains (length,): harmonics of 50 or 60 Hz over faint noise."""
    time = np.arange(length) / SAMPLE_RATE
    base = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
    sound = 0.01 * rng.standard_normal(length)
    for harmonic in range(1, rng.integers(4, 30)):
        level = rng.uniform(0, 1) / harmonic ** rng.uniform(0.3, 1.5)
        sound += level * np.sin(2 * np.pi * (harmonic * base * time + rng.uniform()))
    return sound


def in_room(dry: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Convolve with an impulse response, and keep the length."""
    return fftconvolve(dry, room)[: len(dry)]


def in_rooms(dry: np.ndarray, rooms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convolve every ten seconds of a recording in int16 with the impulse response of another room.

    What is still sounding at the end of a room goes on in the next.
    """
    wet = np.zeros(len(dry) + rooms.shape[1])
    for start in range(0, len(dry), _STAY):
        block = dry[start : start + _STAY] / 32768
        sound = fftconvolve(block, rooms[rng.integers(len(rooms))])
        wet[start : start + len(sound)] += sound
    return wet[: len(dry)]
