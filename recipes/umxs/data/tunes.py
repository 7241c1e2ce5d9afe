"""MIDI tunes of games as stems, each with another band, room, key and tempo."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from band import Band
from mido import KeySignatureError
from output import Output
from packages import Cache
from parts import Event, excerpt, read

__all__ = ["make_tunes"]

_SECONDS = 50.0


class _Tune(NamedTuple):
    """A MIDI file, the package it is from and a name."""

    package: str
    name: str
    path: Path


def make_tunes(cache: Cache, output: Output) -> Iterator[tuple[str, float]]:
    """Render an excerpt of every tune of the packages with music for games.

    Parameters
    ----------
    cache : Cache
        Where packages are.
    output : Output
        Where tracks go.

    Yields
    ------
    tuple of str and float
        Each track's name and seconds.
    """
    band = Band(cache)
    for tune in _tunes(cache):
        if output.has("train", tune.name):
            continue
        # The seed is the name, so that adding a tune changes no other.
        rng = np.random.default_rng(zlib.crc32(tune.name.encode()))
        events = _readable(tune.path)
        if not events:
            continue
        speed = rng.uniform(0.92, 1.1)
        length = events[-1].time / speed
        seconds = min(_SECONDS, length)
        start = rng.uniform(0, max(length - seconds, 0)) * speed
        performance = band.play(excerpt(events, start, seconds, speed), seconds, rng)
        if len(performance.stems) < 2:
            continue
        written = output.write(
            "train", tune.name, performance.stems, band.rate, [tune.package, *performance.packages]
        )
        yield tune.name, written


def _readable(path: Path) -> list[Event]:
    """Read a tune; some break the rules of MIDI and are passed over."""
    try:
        return read(path)
    except (EOFError, OSError, ValueError, KeySignatureError):
        return []


def _tunes(cache: Cache) -> Iterator[_Tune]:
    """Yield all tunes, taking turns among the packages."""
    lists = [
        [(package, path) for path in sorted(_midi_files(cache, package))]
        for package in (
            "freedoom",
            "openttd-openmsx",
            "simutrans-data",
            "planetblupi-music-midi",
        )
    ]
    for index in range(max(map(len, lists))):
        for package, path in [tunes[index] for tunes in lists if index < len(tunes)]:
            yield _Tune(package, f"{package}-{path.stem}".lower(), path)


def _midi_files(cache: Cache, package: str) -> list[Path]:
    """Find the MIDI files of a package; take those of Freedoom out of its archives first."""
    root = cache.fetch(package)
    if package == "freedoom" and not (root / "midi").is_dir():
        _take_out(root)
    return list(root.rglob("*.mid"))


def _take_out(root: Path) -> None:
    """Write each different tune of Freedoom's archives to a file."""
    seen = set()
    for archive in sorted(root.rglob("*.wad")):
        data = archive.read_bytes()
        count, table = struct.unpack_from("<ii", data, 4)
        for index in range(count):
            start, size, name = struct.unpack_from("<ii8s", data, table + 16 * index)
            tune = data[start : start + size]
            if tune.startswith(b"MThd") and tune not in seen:
                seen.add(tune)
                (root / "midi").mkdir(exist_ok=True)
                stem = f"{archive.stem}-{name.rstrip(bytes(1)).decode()}"
                (root / "midi" / f"{stem}.mid").write_bytes(tune)
