"""Chord charts for MMA, the accompaniment generator: a style, a key, some progressions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Style", "chart", "grooves", "is_popular"]

_KEYS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
# In semitones above the key, with the kind of chord; four or eight bars each.
_MAJOR = (
    "0 7 9m 5",
    "0 9m 5 7",
    "0 5 7 5",
    "0 5 0 7",
    "0 10 5 0",
    "9m 5 0 7",
    "0 4m 5 7",
    "0 2m 5 7",
    "0 0 5 5 0 0 7 7",
    "0 7 9m 4m 5 0 5 7",
    "5 7 0 0",
    "2m 7 0 9m",
)
_MINOR = (
    "0m 8 3 10",
    "0m 10 8 10",
    "0m 5m 0m 7m",
    "0m 3 10 5m",
    "0m 0m 10 8",
    "0m 8 10 0m",
    "0m 5 10 3",
)
_BLUES = ("07 57 07 07 57 57 07 07 77 57 07 77", "07 07 57 07 77 57 07 77")
_JAZZ = ("2m7 77 0M7 0M7", "0M7 9m7 2m7 77", "4m7 97 2m7 77", "0m7 57 10M7 10M7")
_POWER = (
    "05 35 55 05",
    "05 85 105 05",
    "05 55 75 55",
    "05 105 55 05",
    "05 05 35 55",
    "05 15 05 35",
)

_POPULAR = (
    "rock|pop|punk|metal|blues|country|cntry|funk|soul|beat|ballad|ska|shuffle|folk|r.?b|rnb|"
    "twist|bo[og]+i|reggae|disco|hip.?hop|motown|grass|hrk|mtl|thr|western|zydeco|highfive|digital"
)
_HEAVY = "metal|punk|hrk|mtl|thr|heavy|hard"
_JAZZY = "jazz|bebop|swing|bossa|evans|combo|bigband|samba|foxtrot|fusion|broadway|ragtime"
_PASSING = r"intro|end|fill|\dE$|[ABC]?F[ABC]$|count|break"
_SLOW = "ballad|slow|lullaby|bolero|hymn|spiritual|trip|ambient"
_FAST = "metal|punk|thr|mtl|polka|grass|quickstep|bo[og]+i|ska|fast|dnb|bebop"


class Style(NamedTuple):
    """A file of MMA's library.

    Attributes
    ----------
    file : str
        Its path below the library, without extension.
    grooves : tuple of str
        The grooves it defines, without introductions, fills and endings.
    """

    file: str
    grooves: tuple[str, ...]


def grooves(text: str) -> tuple[str, ...]:
    """Return the grooves for whole sections that a library file defines.

    Parameters
    ----------
    text : str
        The file's contents.

    Returns
    -------
    tuple of str
        Their names.
    """
    names = re.findall(r"^\s*DefGroove\s+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    return tuple(name for name in names if not re.search(_PASSING, name, re.IGNORECASE))


def is_popular(style: Style) -> bool:
    """Whether a style is heard on records of rock, pop and their roots."""
    return re.search(_POPULAR, style.file.lower()) is not None


def chart(style: Style, seconds: float, rng: np.random.Generator) -> str:
    """Write a chart that lasts long enough.

    Parameters
    ----------
    style : Style
        What to play; sections of eight bars change between its grooves.
    seconds : float
        How long at least.
    rng : numpy.random.Generator
        Draws tempo, key, grooves and progressions.

    Returns
    -------
    str
        The chart in MMA's language.
    """
    tempo = round(_tempo(style.file, rng))
    key = int(rng.integers(12))
    lines = [f"RndSeed {rng.integers(10**6)}", f"Tempo {tempo}", f"Use {style.file}"]
    pool = _progressions(style.file, rng)
    sections = [str(progression) for progression in rng.choice(pool, 2)]
    # Bars have at least two beats.
    for section in range(math.ceil(seconds * tempo / 60 / 2 / 8)):
        lines.append(f"Groove {rng.choice(style.grooves)}")
        bars = sections[section // 2 % 2].split()
        lines += [_chord(bars[bar % len(bars)], key) for bar in range(8)]
    return "\n".join(lines) + "\n"


def _tempo(name: str, rng: np.random.Generator) -> float:
    """Draw beats a minute that suit a style."""
    if re.search(_SLOW, name.lower()):
        return rng.uniform(62, 92)
    return rng.uniform(140, 195) if re.search(_FAST, name.lower()) else rng.uniform(92, 145)


def _progressions(name: str, rng: np.random.Generator) -> Sequence[str]:
    """Progressions that suit a style."""
    name = name.lower()
    if re.search(_HEAVY, name) or ("rock" in name and rng.random() < 0.4):
        return _POWER
    if "blues" in name or "boog" in name:
        return _BLUES
    if re.search(_JAZZY, name):
        return _JAZZ
    return _MAJOR if rng.random() < 0.6 else _MINOR


def _chord(degree: str, key: int) -> str:
    """Name a chord given in semitones above the key and its kind, as in `9m7`."""
    # A kind that starts with a figure (7, 5) follows a degree of one figure, or 10.
    match = re.fullmatch(r"(10|11|\d)(.*)", degree)
    assert match
    return _KEYS[(key + int(match[1])) % 12] + match[2]
