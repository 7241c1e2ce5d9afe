"""Stems of a page: encoded for the browser and drawn, in one pass over each file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openunmix.audio import AudioSource, AudioWriter
from openunmix.audio.channels import downmix_to_stereo
from openunmix.audio.parallel import Stoppable, encode_in_parallel
from openunmix.web._pictures import Picture

#: Bit rate of the audio in the page, in bit/s for two channels.
BIT_RATE = 112_000

_UNKNOWN = 300.0  # seconds to lay the pictures out for if no file states its duration


class StemSource(NamedTuple):
    """Where the audio of a stem or the original is, and its gain."""

    name: str
    audio: AudioSource
    gain: float = 1.0


class EncodedStem(NamedTuple):
    """A stem or the original as the page needs it."""

    name: str
    audio: Path  # Opus in Ogg
    sample_rate: int  # of the source, in Hz
    picture: Picture


@contextmanager
def encoded(sources: list[StemSource], above: Path | None = None) -> Iterator[list[EncodedStem]]:
    """Encode stems into a temporary folder in ``above``, which is removed at the end."""
    duration = _duration(sources)
    with tempfile.TemporaryDirectory(
        prefix=".umx-player-", suffix=".part", dir=above, ignore_cleanup_errors=True
    ) as name:
        paths = [Path(name, f"{number}.opus") for number in range(len(sources))]
        stems = list(zip(sources, paths, strict=True))
        yield encode_in_parallel(partial(_encode, duration), stems)


def _duration(sources: list[StemSource]) -> float:
    """Longest duration that the files state, in seconds."""
    durations = [0.0]
    for source in sources:
        with source.audio.open() as reader:
            durations.append((reader.length or 0) / reader.info.sample_rate)
    return max(durations) or _UNKNOWN


def _encode(duration: float, stem: tuple[StemSource, Path], stoppable: Stoppable) -> EncodedStem:
    """Encode and draw a file, block by block."""
    source, path = stem
    with source.audio.open() as reader:
        rate = reader.info.sample_rate
        channels = min(2, reader.info.channels)
        picture = Picture(rate, duration)
        with AudioWriter(path, rate, channels, bit_rate=BIT_RATE * channels // 2) as writer:
            for block in stoppable(reader):
                stereo = np.float32(source.gain) * downmix_to_stereo(block, reader.info.layout)
                picture.add(stereo)
                writer.write(stereo)
        picture.finish()
        return EncodedStem(source.name, path, rate, picture)
