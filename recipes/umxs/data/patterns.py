"""Drum patterns: sixteen or twelve steps a bar, played as a person does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["GROOVES", "Groove", "Hit", "perform"]

# x loud, o soft, g hardly heard, . nothing.
_LOUDNESS = {"x": 0.9, "o": 0.65, "g": 0.25}
_HANDS = ("snare", "tom_high", "tom_mid", "tom_low")


class Groove(NamedTuple):
    """A bar of drums.

    Attributes
    ----------
    tempo : tuple of float and float
        Beats a minute, from and to.
    voices : mapping of str to str
        Steps of the bar by instrument.
    swing : float
        By how much of a step every second pair of steps comes late.
    """

    tempo: tuple[float, float]
    voices: Mapping[str, str]
    swing: float = 0.0


class Hit(NamedTuple):
    """One stroke.

    Attributes
    ----------
    time : float
        Seconds.
    voice : str
        What is struck.
    loudness : float
        0 to 1.
    """

    time: float
    voice: str
    loudness: float


GROOVES = {
    "rock": Groove(
        (100, 140),
        {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat_closed": "x.o.x.o.x.o.x.o."},
    ),
    "hard rock": Groove(
        (90, 130),
        {"kick": "x..x....x.x....x", "snare": "....x.......x...", "hat_open": "x...x...x...x..."},
    ),
    "britpop": Groove(
        (85, 115),
        {"kick": "x.....x...x.....", "snare": "....x..g.g..x..g", "ride": "x.o.x.o.x.o.x.o."},
    ),
    "beat": Groove(
        (115, 150),
        {"kick": "x...x...x...x...", "snare": "....x.x.....x...", "hat_open": "x.x.x.x.x.x.x.x."},
    ),
    "punk": Groove(
        (160, 200),
        {"kick": "x.x...x.x.x...x.", "snare": "....x.......x...", "hat_open": "x.x.x.x.x.x.x.x."},
    ),
    "fast punk": Groove(
        (170, 210),
        {"kick": "x...x...x...x...", "snare": "..x...x...x...x.", "crash": "x...o...o...o..."},
    ),
    "grunge": Groove(
        (85, 120),
        {"kick": "x..x..x...xx....", "snare": "....x.......x...", "crash": "x...o...x...o..."},
    ),
    "train": Groove(
        (95, 130),
        {"kick": "x...x...x...x...", "snare": "gooxgoogooxoggox", "hat_pedal": "..x...x...x...x."},
    ),
    "two beat": Groove(
        (90, 125),
        {"kick": "x.......x.......", "stick": "....x.......x...", "hat_closed": "x.o.x.o.x.o.x.o."},
    ),
    "rockabilly": Groove(
        (80, 110),
        {"kick": "x...x...x...x...", "snare": "....x.g.....x.g.", "ride": "x...x.o.x...x.o."},
        0.6,
    ),
    "shuffle": Groove(
        (55, 75),
        {"kick": "x.......x.....o.", "snare": "....x...g...x..g", "hat_closed": "x.o.x.o.x.o.x.o."},
        0.65,
    ),
    "funk": Groove(
        (90, 115),
        {"kick": "x..o..x...o..x..", "snare": "....x..g.g.gx..g", "hat_closed": "xoxoxoxoxoxoxoxo"},
    ),
    "disco": Groove(
        (110, 128),
        {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat_open": "..x...x...x...x."},
    ),
    "ballad": Groove(
        (60, 80),
        {"kick": "x.......o.x.....", "snare": "....x.......x...", "hat_closed": "x.o.x.o.x.o.x.o."},
    ),
    "half time": Groove(
        (120, 150),
        {"kick": "x.....x.......x.", "snare": "........x.......", "ride": "x...o...x...o..."},
    ),
    "twelve eight": Groove(
        (55, 75), {"kick": "x.....x..x..", "snare": "...x.....x..", "hat_closed": "xooxooxooxoo"}
    ),
    "surf": Groove(
        (140, 170),
        {"kick": "x.......x.......", "snare": "....x.x.....x...", "ride": "x.o.x.o.x.o.x.o."},
    ),
    "toms": Groove(
        (90, 130),
        {
            "kick": "x...x...x...x...",
            "tom_low": "x.oox.oox.o.x.oo",
            "tom_mid": "..........o.....",
            "snare": "....x.......x...",
        },
    ),
}


def perform(groove: Groove, seconds: float, rng: np.random.Generator) -> list[Hit]:
    """Play a groove with a tempo, variations, fills and human timing drawn for it.

    Parameters
    ----------
    groove : Groove
        The bar.
    seconds : float
        How long to play.
    rng : numpy.random.Generator
        Draws everything.

    Returns
    -------
    list of Hit
        The strokes by time, all before `seconds`.
    """
    steps = len(next(iter(groove.voices.values())))
    step = 60 / rng.uniform(*groove.tempo) * 4 / steps
    phrase = int(rng.choice([4, 8]))
    tightness = rng.uniform(0.002, 0.008)
    hits = []
    for bar in range(int(np.ceil(seconds / (steps * step)))):
        filled = steps // 2 if bar % phrase == phrase - 1 and rng.random() < 0.8 else steps
        strokes = [
            (index, voice, _LOUDNESS[mark])
            for voice, marks in groove.voices.items()
            for index, mark in enumerate(marks[:filled])
            if mark != "."
        ]
        strokes += _fill(range(filled, steps), rng)
        strokes += _variations(steps, filled, rng)
        if bar % phrase == 0:
            strokes.append((0, "crash", 0.9))
        for index, voice, loudness in strokes:
            late = groove.swing * step * (index % 4 in (2, 3)) if steps == 16 else 0.0
            time = (bar * steps + index) * step + late + rng.normal(0, tightness)
            soft = np.clip(loudness + rng.normal(0, 0.06), 0.05, 1.0)
            hits.append(Hit(max(float(time), 0.0), voice, float(soft)))
    return sorted(hit for hit in hits if hit.time < seconds)


def _fill(steps: range, rng: np.random.Generator) -> list[tuple[int, str, float]]:
    """Go down the toms at the end of a phrase."""
    dense = rng.uniform(0.5, 1.0)
    return [
        (step, _HANDS[min(position * 4 // len(steps), 3)], float(rng.uniform(0.6, 1.0)))
        for position, step in enumerate(steps)
        if rng.random() < dense
    ]


def _variations(steps: int, filled: int, rng: np.random.Generator) -> list[tuple[int, str, float]]:
    """Add a stroke of the bass drum or an unaccented one of the snare now and then."""
    added = []
    if rng.random() < 0.3:
        added.append((int(rng.integers(1, steps)), "kick", 0.7))
    if rng.random() < 0.3:
        added.append((int(rng.integers(1, steps)), "snare", 0.25))
    return [stroke for stroke in added if stroke[0] < filled]
