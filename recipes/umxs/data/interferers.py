"""Music of games without voices: whole mixtures that vocals are to be separated from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from output import Output
from packages import Cache
from synthesizer import SAMPLE_RATE

import openunmix

__all__ = ["make_interferers"]

_SECONDS = 45
_LISTENED = 3
_PACKAGES = {
    "warzone2100-music": "*.opus",
    "supertux-data": "*.ogg",
    "hyperrogue-music": "music/*.ogg",
    "wesnoth-1.16-music": "*.ogg",
    "singularity-music": "*.ogg",
    "unknown-horizons": "*.ogg",
}
# Choirs, speech, and sounds that are no music.
_NOT_WANTED = re.compile(
    "nunc_dimittis|tux_rap|salcon|chapel|waves|seafight|lumberjack|windmill|warehouse|Dis$|Aleph"
)
#: Share of the energy that the bundled model may take for a voice.
_VOICE = 0.3


def make_interferers(cache: Cache, output: Output) -> Iterator[tuple[str, float]]:
    """Cut the middle out of every piece in which the bundled model hears no voice.

    Parameters
    ----------
    cache : Cache
        Where packages are.
    output : Output
        Where recordings go.

    Yields
    ------
    tuple of str and float
        Each recording's name and seconds; 0 seconds for those that are left out.
    """
    separator = openunmix.umxs(niter=0)
    for package, path in _pieces(cache):
        short = package.partition("-")[0]
        name = f"{short}-" + re.sub(r"[^a-z0-9]+", "-", path.stem.lower())
        if output.has("interferers", f"{name}.flac"):
            continue
        sound = _middle(path)
        if len(sound) < _SECONDS * SAMPLE_RATE // 2 or _voice_share(separator, sound) > _VOICE:
            yield name, 0.0
            continue
        written = output.write_alone("interferers", name, sound, SAMPLE_RATE, [package])
        yield name, written


def _pieces(cache: Cache) -> Iterator[tuple[str, Path]]:
    """Yield all pieces of music, taking turns among the packages."""
    lists = [
        [(package, path) for path in sorted(cache.fetch(package).rglob(pattern))]
        for package, pattern in _PACKAGES.items()
    ]
    for index in range(max(map(len, lists))):
        for package, path in [pieces[index] for pieces in lists if index < len(pieces)]:
            if not _NOT_WANTED.search(path.stem) and path.stat().st_size > 300_000:
                yield package, path


def _middle(path: Path) -> np.ndarray:
    """Return the middle of a piece: (samples, 2)."""
    info = soundfile.info(path)
    wanted = _SECONDS * info.samplerate
    start = max((info.frames - wanted) // 2, 0)
    sound, rate = soundfile.read(path, wanted, start, dtype="float32", always_2d=True)
    return soxr.resample(sound[:, [0, -1]], rate, SAMPLE_RATE)


def _voice_share(separator: torch.nn.Module, sound: np.ndarray) -> float:
    """Return the share of energy in the estimate of vocals, in some parts of a piece."""
    length = _LISTENED * SAMPLE_RATE
    starts = np.linspace(0, len(sound) - length, 4).astype(int)
    parts = torch.from_numpy(np.stack([sound[start : start + length].T for start in starts]))
    with torch.inference_mode():
        energy = separator(parts).square().sum(dim=(0, 2, 3))
    return float(energy[0] / energy.sum().clamp(min=1e-9))
