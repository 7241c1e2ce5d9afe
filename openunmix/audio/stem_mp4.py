"""Native Instruments' ``.stem.mp4``: mixture and stems as streams of one file.

The first audio stream of the MP4 is the mixture, the only one enabled for players without
support for stems. Names and colours of the stems are JSON in the atom ``moov/udta/stem``.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np

from openunmix.audio._paths import PartFile, StrPath, codec_errors, quote
from openunmix.audio.channels import Block, downmix_to_stereo
from openunmix.audio.encoders import FfmpegEncoder, supported_sample_rate
from openunmix.audio.reading import AudioReader
from openunmix.audio.resampling import Resampler
from openunmix.audio.source import AudioSource
from openunmix.errors import AudioFileError

STEM_MP4 = ".stem.mp4"
"""Extension of the format."""

STEM_MP4_STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""Order of the streams in MUSDB18 and in DJ software."""

_COLORS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")

# Both processors of the format, disabled, with the values that its own editor writes.
_MASTERING_DSP = {
    "compressor": {
        "enabled": False,
        "input_gain": 0.5,
        "output_gain": 0.5,
        "threshold": 0,
        "ratio": 3,
        "attack": 0.003,
        "release": 0.3,
        "dry_wet": 50,
        "hp_cutoff": 300,
    },
    "limiter": {"enabled": False, "threshold": 0, "ceiling": -0.35, "release": 0.05},
}


def write_stem_mp4(
    path: StrPath,
    mixture: StrPath | AudioSource,
    stems: Mapping[str, StrPath | AudioSource],
    tags_from: StrPath | None = None,
    gain: float = 1.0,
) -> None:
    """Write a mixture and its stems as a ``.stem.mp4`` for DJ software.

    All streams are stereo AAC at 256 kbit/s, aligned; shorter ones are padded with silence.
    AAC clips what exceeds full scale, see `clipping_gain`. Written block by block, to a
    temporary file that is renamed at the end.

    Parameters
    ----------
    path : str or path
        The file to write.
    mixture : str, path or AudioSource
        The first stream.
    stems : mapping of str to str, path or AudioSource
        Name and audio of every stem, in order. The format has four; with another number
        the file is still an MP4 that this package reads.
    tags_from : str or path, optional
        A file whose title, artist, cover and so on are copied.
    gain : float
        Applied to all streams.

    Raises
    ------
    AudioFileError
        If a file cannot be read or written, or a stem has another sample rate than the
        mixture.
    ValueError
        If there are no stems.
    """
    if not stems:
        raise ValueError("stems is empty, expected the name and the audio of each stem")
    with ExitStack() as stack:
        readers = [stack.enter_context(_open(source)) for source in (mixture, *stems.values())]
        rate = _common_rate(readers)
        part = stack.enter_context(PartFile(path))
        with codec_errors(f"{quote(path)} could not be written"):
            _encode(part, readers, rate, ("mixture", *stems), gain)
            part.close()
            _insert_atom(part, _stem_atom(tuple(stems)))
            part.commit(tags_from)


def _open(source: StrPath | AudioSource) -> AudioReader:
    """Open a file or an excerpt."""
    return source.open() if isinstance(source, AudioSource) else AudioReader(source)


def _common_rate(readers: Sequence[AudioReader]) -> int:
    """Sample rate of all readers; raise if they differ."""
    rate = readers[0].info.sample_rate
    for reader in readers:
        if reader.info.sample_rate != rate:
            raise AudioFileError(
                f"{quote(reader.path)} has {reader.info.sample_rate} Hz and the mixture has "
                f"{rate} Hz; resample one of them"
            )
    return rate


def _encode(
    part: PartFile,
    readers: Sequence[AudioReader],
    rate_in: int,
    titles: tuple[str, ...],
    gain: float,
) -> None:
    """Encode all readers, interleaved, the shorter ones padded with silence."""
    rate = supported_sample_rate(".m4a", rate_in)
    encoder = FfmpegEncoder(part, "mp4", "aac", rate, 2, titles=titles)
    resamplers = [Resampler(rate_in, rate, 2) for _ in readers]
    empty = np.zeros((2, 0), dtype=np.float32)
    try:
        for blocks in itertools.zip_longest(*readers, fillvalue=empty):
            length = max(block.shape[1] for block in blocks)
            for stream, block in enumerate(blocks):
                stereo = _stereo(block * np.float32(gain), readers[stream].info.layout)
                padded = np.pad(stereo, ((0, 0), (0, length - stereo.shape[1])))
                encoder.write(resamplers[stream].process(padded), stream)
            part.check()
        for stream, resampler in enumerate(resamplers):
            encoder.write(resampler.process(empty, last=True), stream)
    finally:
        encoder.close()


def _stereo(block: Block, layout: Sequence[str]) -> Block:
    """Convert a block to two channels."""
    return np.repeat(block, 2, axis=0) if len(block) == 1 else downmix_to_stereo(block, layout)


def _stem_atom(names: Sequence[str]) -> bytes:
    """Atom that describes the stems: its size in bytes, its type, its content."""
    description = {
        "version": 1,
        "mastering_dsp": _MASTERING_DSP,
        "stems": [
            {"name": name, "color": color}
            for name, color in zip(names, itertools.cycle(_COLORS), strict=False)
        ],
    }
    content = json.dumps(description).encode("utf-8")
    return struct.pack(">I4s", 8 + len(content), b"stem") + content


def _insert_atom(part: PartFile, atom: bytes) -> None:
    """Add an atom to ``moov/udta``, which may grow, because FFmpeg writes ``moov`` last."""
    with open(part.path, "rb+") as file:
        end = file.seek(0, 2)
        moov, moov_size = _atoms(file, 0, end)[b"moov"]
        assert moov + moov_size == end, "FFmpeg writes moov last"
        udta, udta_size = _atoms(file, moov + 8, end)[b"udta"]
        file.seek(udta + udta_size)
        following = file.read()
        file.seek(udta + udta_size)
        file.write(atom + following)
        for offset, size in ((moov, moov_size), (udta, udta_size)):
            file.seek(offset)
            file.write(struct.pack(">I", size + len(atom)))


def _atoms(file: BinaryIO, offset: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Offset and size in bytes of the atoms in a range of a file, by their type."""
    atoms = {}
    while offset < end:
        file.seek(offset)
        size, kind, long_size = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        size = long_size if size == 1 else size
        atoms[kind] = (offset, size)
        offset += size
    return atoms
