"""Audio files as streams of blocks, and their sample rates."""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from openunmix_lite.errors import LiteError
from openunmix_lite.fourier import Real

BLOCK = 65536  # samples

_TOO_LOUD = 1e30  # a sum over a window of larger values would overflow


class Audio(NamedTuple):
    """An open audio file of one or two channels."""

    sample_rate: int
    channels: int
    samples: int  #: a file that has fewer is cut short
    tags: dict[str, str]
    blocks: Iterator[Real]  #: (channels, samples), full scale at 1


def open_audio(path: Path, start: float = 0.0, duration: float | None = None) -> Audio:
    """Open a file, or an excerpt of it that is given in seconds.

    What libsndfile does not know, and more than two channels, need PyAV. It also reads MP3 if it
    is there, as libsndfile stops where a header is wrong.
    """
    if not path.is_file():
        found = "is no regular file" if path.exists() else "does not exist"
        raise LiteError(f"{str(path)!r} {found}; give an audio file")
    with path.open("rb") as file:
        if not file.read(1):
            raise LiteError(f"{str(path)!r} is empty (0 bytes); fetch or export it again")
    has_av = importlib.util.find_spec("av") is not None
    audio, reason = None, "it has more than two channels"
    if not (has_av and path.suffix.lower() == ".mp3"):
        try:
            audio = _open_sndfile(path)
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: anything named *.raw
            reason = str(error).rpartition(": ")[2].rstrip(".")
    if audio is None or audio.channels > 2:
        if not has_av:
            raise LiteError(
                f"{str(path)!r} cannot be read: {reason}; for M4A, video, surround and others: "
                "pip install 'openunmix-lite[formats]'"
            )
        from openunmix_lite.formats import open_av

        audio = open_av(path)
    return audio._replace(blocks=_excerpt(path, audio, start, duration))


def _open_sndfile(path: Path) -> Audio:
    """Open WAV, FLAC, AIFF, Ogg, MP3 and so on."""
    file = soundfile.SoundFile(path.absolute())
    tags = {key: text for key, text in file.copy_metadata().items() if text}
    return Audio(file.samplerate, file.channels, file.frames, tags, _sndfile_blocks(file))


def _sndfile_blocks(file: soundfile.SoundFile) -> Iterator[Real]:
    """Yield what can be decoded."""
    with file, suppress(soundfile.SoundFileError):
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            yield block.T


def _excerpt(path: Path, audio: Audio, start: float, duration: float | None) -> Iterator[Real]:
    """Yield the wanted part of a file, checked."""
    rate, position = audio.sample_rate, 0
    first = round(start * rate)
    last = 2**63 if duration is None else first + max(1, round(duration * rate))
    for block in audio.blocks:
        wanted = block[:, max(0, first - position) : last - position]
        position += block.shape[1]
        if not (np.abs(wanted) < _TOO_LOUD).all():
            raise LiteError(
                f"{str(path)!r} has values that are not finite or too loud to compute with; turn "
                "it down to values within -1 and 1, or export it again"
            )
        yield wanted
        if position >= last:
            return
    if position < audio.samples:
        raise LiteError(
            f"{str(path)!r} is damaged or cut short: decoding stopped after {position} samples; "
            "fetch or export it again"
        )
    if position <= first:
        length = position / rate
        raise LiteError(f"{str(path)!r} lasts {length:.3f} s; it has nothing from {start:g} s on")


def resampled(blocks: Iterable[Real], rate_in: int, rate_out: int) -> Iterator[Real]:
    """Convert the sample rate of blocks (channels, samples), soxr's HQ."""
    if rate_in == rate_out:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
    for block in blocks:
        stream = stream or soxr.ResampleStream(rate_in, rate_out, len(block), dtype="float32")
        yield stream.resample_chunk(np.ascontiguousarray(block.T)).T
    if stream is not None:
        yield stream.resample_chunk(block.T[:0], last=True).T
