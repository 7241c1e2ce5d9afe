"""Format of an audio file, and what its decoders have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openunmix.audio._paths import StrPath, quote
from openunmix.audio.channels import Block
from openunmix.errors import AudioFileError


@dataclass(frozen=True)
class AudioInfo:
    """Format of an audio file, as its header states it."""

    sample_rate: int  # Hz
    channels: int
    #: Length. Exact for WAV, FLAC, Ogg and AIFF; otherwise the container's estimate,
    #: within 0.1 s for MP3 and MP4, or None.
    samples: int | None
    format: str  # the container, such as "wav" or "mp4"
    codec: str  # such as "pcm_24" or "aac"
    layout: tuple[str, ...]  # names of the channels in order (FL, FR, FC, LFE, ...); () if unknown
    streams: int = 1  # number of audio streams

    @property
    def duration(self) -> float | None:
        """Duration in seconds, or None."""
        return None if self.samples is None else self.samples / self.sample_rate


def check_stream(path: StrPath, stream: int, streams: int) -> None:
    """Raise unless the file has that audio stream."""
    if not 0 <= stream < streams:
        raise AudioFileError(
            f"{quote(path)} has no audio stream {stream}: it has {streams}, counted from 0"
        )


def drop(chunks: Iterator[Block], count: int) -> Iterator[Block]:
    """Drop the first `count` samples."""
    for chunk in chunks:
        if count < chunk.shape[1]:
            yield chunk[:, count:]
        count = max(0, count - chunk.shape[1])


def truncated(path: StrPath, found: int, expected: int | str) -> AudioFileError:
    """Error for a file that ends too early."""
    return AudioFileError(
        f"{quote(path)} is damaged or cut short: decoding stopped after {found} of {expected} "
        "samples; fetch or export it again"
    )
