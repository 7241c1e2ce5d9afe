"""The audio of a page: encoded for the browser, and drawn, in one pass over each file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openunmix.audio import AudioSource, AudioWriter, downmix_to_stereo
from openunmix.web._pictures import Grid, Picture

__all__ = ["BIT_RATE", "Source", "Track", "encoded"]

BIT_RATE = 112_000
"""Of the audio in the page, in bits per second for two channels."""

_UNKNOWN = 300.0  # seconds to lay the pictures out for if no file says how long it is


@dataclass(frozen=True)
class Source:
    """A file to put into the page, and the factor to turn it down by."""

    name: str
    part: AudioSource
    gain: float = 1.0


@dataclass(frozen=True)
class Track:
    """A stem or the original as the page needs it.

    Parameters
    ----------
    name : str
        What it is called.
    audio : Path
        Opus in Ogg.
    sample_rate : int
        Of the file it was made from, in Hz.
    picture : Picture
        What is drawn of it.
    """

    name: str
    audio: Path
    sample_rate: int
    picture: Picture


@contextmanager
def encoded(sources: list[Source], above: Path | None = None) -> Iterator[list[Track]]:
    """Encode files into a temporary folder that lasts as long as the block.

    Parameters
    ----------
    sources : list of Source
        The files.
    above : Path, optional
        The folder to put the temporary one into.

    Yields
    ------
    list of Track
        In the order of the sources.

    Raises
    ------
    AudioFileError
        If a file cannot be read as audio.
    """
    duration = _longest(sources)
    prefix = ".umx-player-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=above, ignore_cleanup_errors=True) as name,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        paths = [Path(name, f"{number}.opus") for number in range(len(sources))]
        yield list(pool.map(_encode, sources, paths, [duration] * len(sources)))


def _longest(sources: list[Source]) -> float:
    """Return the longest duration in seconds that the files tell without being decoded."""
    durations = [0.0]
    for source in sources:
        with source.part.open() as reader:
            durations.append((reader.length or 0) / reader.info.sample_rate)
    return max(durations) or _UNKNOWN


def _encode(source: Source, path: Path, duration: float) -> Track:
    """Read a file once, block by block."""
    with source.part.open() as reader:
        rate = reader.info.sample_rate
        channels = min(2, reader.info.channels)
        picture = Picture(Grid.of(rate, duration))
        bit_rate = BIT_RATE * channels // 2
        with AudioWriter(path, rate, channels, bit_rate=bit_rate) as writer:
            for block in reader:
                stereo = np.float32(source.gain) * downmix_to_stereo(block, reader.info.layout)
                picture.add(stereo)
                writer.write(stereo)
        picture.finish()
        return Track(source.name, path, rate, picture)
