"""Bass lines for progressions of rock, country and their relatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["LINES", "Line", "Note", "play_line"]

#: Open E of a bass guitar as a MIDI note, the lowest note of a line.
_LOWEST = 28
_PROGRESSIONS = (
    (0, 5, 7, 0),
    (0, 0, 5, 5, 0, 0, 7, 7),
    (0, 7, 9, 5),
    (0, 10, 5, 0),
    (0, 9, 5, 7),
    (0, 3, 5, 10),
    (0, 8, 3, 10),
    (0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7),
    (2, 7, 0, 9),
)


class Line(NamedTuple):
    """How a bass plays a bar of one chord.

    Attributes
    ----------
    tempo : tuple of float and float
        Beats a minute, from and to.
    steps : tuple of str
        Bars to choose from, eight steps each: the interval above the root in semitones,
        `-` to hold, `.` to rest, `>` for a step towards the next root.
    length : float
        Part of its time that a note sounds.
    swing : float
        By how much of a step every second one comes late.
    """

    tempo: tuple[float, float]
    steps: tuple[str, ...]
    length: float = 0.9
    swing: float = 0.0


class Note(NamedTuple):
    """One note.

    Attributes
    ----------
    time, duration : float
        Seconds.
    pitch : int
        MIDI note.
    loudness : float
        0 to 1.
    """

    time: float
    duration: float
    pitch: int
    loudness: float


LINES = {
    "country": Line((90, 130), ("0 - - - -5 - - -", "0 - - - -5 - - >", "0 - - - 7 - 4 >"), 0.7),
    "train": Line((100, 130), ("0 - -5 - 0 - -5 -", "0 - 4 - 7 - 4 >"), 0.6),
    "rock eighths": Line((100, 150), ("0 0 0 0 0 0 0 0", "0 0 0 0 0 0 7 >", "0 0 0 0 0 0 0 >")),
    "punk": Line((160, 200), ("0 0 0 0 0 0 0 0", "0 0 0 0 12 12 7 >")),
    "rock": Line((90, 130), ("0 - - 0 0 - - -", "0 - - 0 0 - 7 >", "0 - 0 . 0 - 10 12")),
    "ballad": Line((62, 85), ("0 - - - - - 7 -", "0 - - 7 12 - - >", "0 - - - - - - -"), 1.0),
    "rockabilly": Line(
        (150, 190), ("0 - 4 - 7 - 9 -", "12 - 9 - 7 - 4 -", "0 - 4 - 7 - 10 -"), 0.8
    ),
    "walking": Line(
        (100, 160), ("0 - 4 - 7 - > -", "0 - 2 - 4 - > -", "0 - 7 - 10 - > -"), 0.9, 0.3
    ),
    "disco": Line((110, 128), ("0 12 0 12 0 12 0 12", "0 12 0 12 7 12 10 12"), 0.6),
    "funk": Line((92, 115), ("0 . . 0 . 10 12 .", "0 - . 12 . 10 7 >", "0 0 . 7 . . 10 >"), 0.5),
    "beat": Line((115, 150), ("0 - 0 7 - 7 9 7", "0 - 7 - 9 - 7 -", "0 - 0 - 4 - 7 9")),
    "grunge": Line((85, 120), ("0 - 0 0 . 0 3 -", "0 - - 0 3 - 5 -", "0 0 0 0 0 0 0 -")),
    "shuffle": Line((95, 130), ("0 0 4 4 7 7 9 9", "0 0 7 7 9 9 10 9"), 0.8, 0.6),
}


def play_line(line: Line, seconds: float, rng: np.random.Generator) -> list[Note]:
    """Play a line over a progression with a tempo and a key drawn for it.

    Parameters
    ----------
    line : Line
        The kind of line.
    seconds : float
        How long to play.
    rng : numpy.random.Generator
        Draws everything.

    Returns
    -------
    list of Note
        Notes by time, one at a time, all starting before `seconds`.
    """
    step = 60 / rng.uniform(*line.tempo) / 2
    key = int(rng.integers(12))
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    roots = [_LOWEST + (key + degree) % 12 for degree in progression]
    notes: list[Note] = []
    for bar in range(int(np.ceil(seconds / (8 * step)))):
        root, following = roots[bar % len(roots)], roots[(bar + 1) % len(roots)]
        marks = line.steps[rng.integers(len(line.steps))].split()
        for index, mark in enumerate(marks):
            if mark in "-.":
                continue
            late = line.swing * step * (index % 2)
            time = (8 * bar + index) * step + late + rng.normal(0, 0.004)
            duration = line.length * step * _held(marks, index) - late
            loudness = np.clip(rng.normal(0.75 if index % 2 == 0 else 0.65, 0.08), 0.2, 1.0)
            pitch = _pitch(mark, root, following)
            notes.append(Note(max(float(time), 0.0), float(duration), pitch, float(loudness)))
    return [note for note in sorted(notes) if note.time < seconds]


def _held(marks: list[str], index: int) -> int:
    """Count the steps that the note at a step lasts."""
    end = index + 1
    while end < len(marks) and marks[end] == "-":
        end += 1
    return end - index


def _pitch(mark: str, root: int, following: int) -> int:
    """Return the note of a mark; below the lowest string an octave higher."""
    if mark == ">":
        return max(following - 1 if following > root else following + 1, _LOWEST)
    pitch = root + int(mark)
    return pitch if pitch >= _LOWEST else pitch + 12
