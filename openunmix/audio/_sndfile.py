"""WAV, FLAC, AIFF, CAF, AU and Ogg through libsndfile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from openunmix.audio._paths import StrPath, absolute, codec_errors, quote
from openunmix.audio.channels import Block, default_layout, order_of_vorbis
from openunmix.audio.info import AudioInfo, drop, truncated
from openunmix.errors import AudioFileError

_CHUNK = 65536  # samples per channel that libsndfile decodes in one call


def open_sndfile(path: StrPath) -> SndfileDecoder | None:
    """Open a file with libsndfile; None if that fails."""
    import soundfile

    name = str(absolute(path)) if os.name == "nt" else os.fsencode(absolute(path))
    try:
        return SndfileDecoder(path, soundfile.SoundFile(name))
    except (soundfile.SoundFileError, TypeError):  # TypeError: anything named *.raw
        return None


class SndfileDecoder:
    """WAV, FLAC, AIFF, CAF, AU and Ogg through libsndfile."""

    def __init__(self, path: StrPath, handle: Any) -> None:
        self._path, self._handle = path, handle
        reordered = handle.format == "OGG" and handle.channels > 2
        self._order = order_of_vorbis(handle.channels) if reordered else None
        self.close = handle.close
        self.info = AudioInfo(
            sample_rate=handle.samplerate,
            channels=handle.channels,
            samples=handle.frames,
            format=handle.format.lower(),
            codec=handle.subtype.lower(),
            layout=default_layout(handle.channels),
        )
        try:
            self._check_complete()
        except AudioFileError:
            handle.close()
            raise

    def _check_complete(self) -> None:
        """Raise if the file is shorter than its header says, or has no end."""
        if self._handle.format == "OGG":
            if not _has_end_of_stream(self._path):
                raise AudioFileError(
                    f"{quote(self._path)} is cut short: its last page does not end the Ogg "
                    "stream; fetch it again, or repair it by remuxing"
                )
            return
        found = re.search(r"\b(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", self._handle.extra_info)
        # Programs that write to a pipe do not know the length and state the maximum; others
        # include their header.
        if found and int(found[2]) + 4096 < int(found[1]) < 0x7FFFF000:
            raise AudioFileError(
                f"{quote(self._path)} is cut short: its header announces {found[1]} bytes of "
                f"audio, the file has {found[2]}; fetch or export it again"
            )

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
            with codec_errors(f"{quote(self._path)} is damaged after sample {position}"):
                chunk = self._handle.read(_CHUNK, dtype="float32", always_2d=True).T
            if chunk.shape[1] == 0:
                raise truncated(self._path, position, self._handle.frames)
            position += chunk.shape[1]
            yield chunk[self._order] if self._order else chunk


def _has_end_of_stream(path: StrPath) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 2 * 65536))  # a page has at most 65307 bytes
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)
