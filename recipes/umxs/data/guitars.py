"""Guitars of real bands: the songs of Frets on Fire keep them in a file of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr
from output import Output
from packages import Cache
from synthesizer import SAMPLE_RATE

__all__ = ["make_guitars"]

_PACKAGES = ("fretsonfire-songs-muldjord", "fretsonfire-songs-sectoid")
_BLOCK = SAMPLE_RATE // 2
_FLOOR = 0.01


def make_guitars(cache: Cache, output: Output) -> Iterator[tuple[str, float]]:
    """Take the guitars of every song, without the pauses.

    Parameters
    ----------
    cache : Cache
        Where packages are.
    output : Output
        Where recordings go.

    Yields
    ------
    tuple of str and float
        Each recording's name and seconds.
    """
    for package in _PACKAGES:
        for path in sorted(cache.fetch(package).rglob("guitar.ogg")):
            band = package.rpartition("-")[2]
            name = f"fretsonfire-{band}-" + re.sub(r"[^a-z0-9]+", "-", path.parent.name.lower())
            if output.has("other", f"{name}.flac"):
                continue
            sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
            sound = soxr.resample(sound[:, [0, -1]], rate, SAMPLE_RATE)
            yield (
                name,
                output.write_alone("other", name, _without_pauses(sound), SAMPLE_RATE, [package]),
            )


def _without_pauses(sound: np.ndarray) -> np.ndarray:
    """Leave out pauses of a second and more, but for what fades in and out of them."""
    blocks = [sound[start : start + _BLOCK] for start in range(0, len(sound), _BLOCK)]
    loud = np.array([np.sqrt(np.mean(block**2)) > _FLOOR for block in blocks])
    near = loud.copy()
    near[1:] |= loud[:-1]
    near[:-1] |= loud[1:]
    return np.concatenate([block for block, keep in zip(blocks, near, strict=True) if keep])
