"""A sampled bass guitar that plays bass lines."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from band import bass_mixed
from basslines import LINES, Note, play_line
from effects import compressed, dulled
from output import Output
from packages import Cache
from synthesizer import SAMPLE_RATE

__all__ = ["Bass", "make_bass"]

_SECONDS = 28.0
_TAKES = 2
_SOURCE = "growlybass"
_NAMES = {"c": 0, "db": 1, "d": 2, "eb": 3, "e": 4, "f": 5}
_NAMES |= {"gb": 6, "g": 7, "ab": 8, "a": 9, "bb": 10, "b": 11}
_DYNAMICS = ("pp", "p", "f", "ff")
_RELEASE = 0.06


class Bass:
    """A bass guitar given by recordings of single notes.

    Parameters
    ----------
    folder : Path
        Files named after their note as written, an octave above how it sounds, their dynamics
        and their repetition: `eb3_ff_rr1.ogg`.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[int, dict[str, list[Path]]] = {}
        for path in sorted(folder.iterdir()):
            match = re.fullmatch(r"([a-g]b?)(\d)_(pp|p|f|ff)_rr\d", path.stem)
            if match:
                pitch = 12 * int(match[2]) + _NAMES[match[1]]
                self.files.setdefault(pitch, {}).setdefault(match[3], []).append(path)
        if not self.files:
            raise ValueError(f"{folder}: no file is named like eb3_ff_rr1.ogg")

    def play(self, notes: Iterable[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Play notes.

        Parameters
        ----------
        notes : iterable of Note
            The notes.
        seconds : float
            Length of the result.
        rng : numpy.random.Generator
            Draws repetitions.

        Returns
        -------
        numpy.ndarray [shape=(samples, 2)], float32
            The sound.
        """
        sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        for note in notes:
            start = round(note.time * SAMPLE_RATE)
            plucked = self._plucked(note, rng)[: len(sound) - start]
            sound[start : start + len(plucked)] += plucked
        return np.repeat(sound[:, None], 2, axis=1)

    def _plucked(self, note: Note, rng: np.random.Generator) -> np.ndarray:
        """One note, from the nearest recording."""
        nearest = min(self.files, key=lambda pitch: abs(pitch - note.pitch))
        dynamic = _DYNAMICS[min(int(note.loudness * 4), 3)]
        files = self.files[nearest][dynamic]
        recording, rate = soundfile.read(files[rng.integers(len(files))], dtype="float32")
        # Played faster, a recording sounds higher.
        faster = rate * 2 ** ((note.pitch - nearest) / 12)
        tone = soxr.resample(recording, faster, SAMPLE_RATE)
        release = round(_RELEASE * SAMPLE_RATE)
        tone = tone[: round(note.duration * SAMPLE_RATE) + release].copy()
        release = min(release, len(tone))
        tone[-release:] *= np.linspace(1, 0, release, dtype=np.float32)
        # Softer strings are duller, not only quieter; a player evens out the rest.
        return tone * np.float32(note.loudness / max(float(np.sqrt(np.mean(tone**2))), 1e-3))


def make_bass(cache: Cache, output: Output, folder: Path) -> Iterator[tuple[str, float]]:
    """Play takes of every kind of line.

    Parameters
    ----------
    cache : Cache
        Not used: the notes are no package.
    output : Output
        Where recordings go.
    folder : Path
        The notes, see :class:`Bass`.

    Yields
    ------
    tuple of str and float
        Each recording's name and seconds.
    """
    bass = Bass(folder)
    for kind, line in LINES.items():
        for take in range(_TAKES):
            name = f"{_SOURCE}-{kind.replace(' ', '-')}-{take + 1}"
            if output.has("bass", f"{name}.flac"):
                continue
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            sound = bass.play(play_line(line, _SECONDS, rng), _SECONDS, rng)
            # Records keep little of the clank of strings on frets.
            sound = dulled(sound, SAMPLE_RATE, float(np.exp(rng.uniform(5.3, 7.8))))
            sound = compressed(sound, SAMPLE_RATE, rng.uniform(2, 6), -6.0, 0.006)
            mixed = bass_mixed(sound, rng)
            yield name, output.write_alone("bass", name, mixed, SAMPLE_RATE, [_SOURCE])
