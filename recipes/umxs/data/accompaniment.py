"""Bands in the styles of MMA's library as stems."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from band import Band
from charts import Style, chart, grooves, is_popular
from output import Output
from packages import Cache
from parts import Event, excerpt, read

__all__ = ["make_accompaniment"]

_POPULAR_SECONDS = 40.0
_OTHER_SECONDS = 20.0
# Metronomes, introductions and what has no part of its own.
_NOT_STYLES = re.compile(r"metronome|stdpats|none$|count$|intro$|ending$")


def make_accompaniment(cache: Cache, output: Output) -> Iterator[tuple[str, float]]:
    """Render a band in every style, popular styles first and longer.

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
    home = cache.fetch("mma")
    for style in sorted(_styles(home), key=lambda style: (not is_popular(style), style.file)):
        name = "mma-" + re.sub(r"[^a-z0-9]+", "-", style.file.lower())
        if output.has("train", name):
            continue
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        seconds = _POPULAR_SECONDS if is_popular(style) else _OTHER_SECONDS
        events = _generate(home, chart(style, seconds + 4, rng))
        if not events:
            continue
        start = rng.uniform(0, max(events[-1].time - seconds, 0.0))
        tune = excerpt(events, start, seconds, 1.0)
        performance = band.play(tune, seconds, rng)
        packages = ["mma", *performance.packages]
        yield name, output.write("train", name, performance.stems, band.rate, packages)


def _styles(home: Path) -> Iterator[Style]:
    """Yield all styles of the library that have grooves."""
    library = home / "usr/share/mma/lib"
    for path in sorted(library.rglob("*.mma")):
        file = str(path.relative_to(library).with_suffix(""))
        names = grooves(path.read_text(errors="replace"))
        if names and not _NOT_STYLES.search(file):
            yield Style(file.removeprefix("stdlib/"), names)


def _generate(home: Path, text: str) -> list[Event]:
    """Have MMA play a chart; a style that it refuses plays nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "chart.mma"), Path(folder, "chart.mid")
        source.write_text(text)
        subprocess.run(
            [sys.executable, home / "usr/bin/mma", source, "-f", target],
            env={**os.environ, "MMA_HOME": str(home / "usr/share/mma")},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return read(target) if target.is_file() else []
