"""WAV, FLAC, AIFF, CAF, AU and Ogg through libsndfile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from openunmix.audio._paths import StrPath, absolute, codec_errors, quote
from openunmix.audio._spliced import Part, SplicedFile
from openunmix.audio.channels import Block, default_layout, order_of_vorbis
from openunmix.audio.info import AudioInfo, drop, truncated

_CHUNK = 65536  # samples per channel that libsndfile decodes in one call


def open_sndfile(path: StrPath, parts: Sequence[Part] | None, raw: bool) -> SndfileDecoder | None:
    """Open the parts of a file with libsndfile, or all of it; None if that fails."""
    import soundfile

    name = str(absolute(path)) if os.name == "nt" else os.fsencode(absolute(path))
    try:
        if parts is None:
            return SndfileDecoder(path, soundfile.SoundFile(name))
        kind = {}
        if raw:
            with SplicedFile(path, parts) as file, soundfile.SoundFile(file) as stated:
                kind = {
                    "samplerate": stated.samplerate,
                    "channels": stated.channels,
                    "subtype": stated.subtype,
                    "endian": "LITTLE" if stated.endian == "LITTLE" else "BIG",
                    "format": "RAW",
                }
        file = SplicedFile(path, parts[1:] if raw else parts)
        return SndfileDecoder(path, soundfile.SoundFile(file, **kind), file)
    except (soundfile.SoundFileError, TypeError):  # TypeError: anything named *.raw
        return None


class SndfileDecoder:
    """WAV, FLAC, AIFF, CAF, AU and Ogg through libsndfile."""

    def __init__(self, path: StrPath, handle: Any, file: SplicedFile | None = None) -> None:
        self._path, self._handle, self._file = path, handle, file
        reordered = handle.format == "OGG" and handle.channels > 2
        self._order = order_of_vorbis(handle.channels) if reordered else None
        self.info = AudioInfo(
            sample_rate=handle.samplerate,
            channels=handle.channels,
            samples=handle.frames,
            format="aiff" if handle.format == "RAW" else handle.format.lower(),
            codec=handle.subtype.lower(),
            layout=default_layout(handle.channels),
        )

    def close(self) -> None:
        """Close the file."""
        self._handle.close()
        if self._file is not None:
            self._file.close()

    def chunks(self, first: int) -> Iterator[Block]:
        """Yield chunks from the sample `first` to the end."""
        # After a seek, Vorbis and Opus differ from the whole decoded file until their predictors
        # and overlaps have settled; the other formats have no such state.
        if self._handle.format == "OGG":
            return drop(self._decode(0), first)
        first = min(first, self._handle.frames)
        with codec_errors(f"{quote(self._path)} cannot be decoded"):
            self._handle.seek(first)
        return self._decode(first)

    def _decode(self, position: int) -> Iterator[Block]:
        """Yield the chunks from the position on."""
        while position < self._handle.frames:
            with codec_errors(
                f"{quote(self._path)} is damaged or cut short after sample {position}"
            ):
                chunk = self._handle.read(_CHUNK, dtype="float32", always_2d=True).T
            if chunk.shape[1] == 0:
                raise truncated(self._path, position, self._handle.frames)
            position += chunk.shape[1]
            yield chunk[self._order] if self._order else chunk
