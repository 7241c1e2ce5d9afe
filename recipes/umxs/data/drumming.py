"""Grooves on sampled kits in rooms."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import numpy as np
from band import drums_mixed
from effects import in_room
from kits import Kit, find_kits
from output import Output
from packages import Cache
from patterns import GROOVES, perform
from synthesizer import SAMPLE_RATE

__all__ = ["make_drumming"]

_SECONDS = 25.0
_TAKES = 4


def make_drumming(cache: Cache, output: Output) -> Iterator[tuple[str, float]]:
    """Play takes on every kit.

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
    for package, folder in find_kits(cache):
        kit = None
        for take in range(_TAKES):
            name = "hydrogen-" + re.sub(r"[^a-z0-9]+", "-", folder.name.lower()) + f"-{take + 1}"
            if output.has("drums", f"{name}.flac"):
                continue
            kit = kit or Kit(folder, SAMPLE_RATE)
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            sound = _take(kit, rng)
            yield name, output.write_alone("drums", name, sound, SAMPLE_RATE, [package])


def _take(kit: Kit, rng: np.random.Generator) -> np.ndarray:
    """Two grooves, one after the other, in one room."""
    chosen = [str(name) for name in rng.choice(sorted(GROOVES), 2, replace=False)]
    parts = [
        kit.play(perform(GROOVES[name], _SECONDS / 2, rng), _SECONDS / 2, rng) for name in chosen
    ]
    sound = np.concatenate(parts)
    if rng.random() < 0.7:
        sound = in_room(sound, SAMPLE_RATE, rng, rng.uniform(0.2, 1.2), rng.uniform(0.05, 0.5))
    return drums_mixed(sound, rng)
