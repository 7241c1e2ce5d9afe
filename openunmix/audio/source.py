"""Location of audio: a file, one of its streams, an excerpt of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from openunmix.audio.reading import AudioReader

AUDIO_EXTENSIONS = (
    *(".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"),
    *(".ac3", ".wma", ".mp2", ".mp3", ".aac", ".mka", ".m4a", ".oga", ".ogg", ".opus"),
    *(".ape", ".wv", ".au", ".caf", ".aif", ".aiff", ".flac", ".w64", ".rf64", ".wav"),
)
"""Extensions of audio files, in lower case, for searching folders.
If a file is there in several formats, the last one is preferred."""


class AudioSource(NamedTuple):
    """Location of audio: a stream of a file, or an excerpt of it.

    Examples
    --------
    >>> str(AudioSource(Path("song.stem.mp4"), stream=4))
    'song.stem.mp4 (stream 4)'
    """

    path: Path
    #: Index of the audio stream; the first by default.
    stream: int | None = None
    #: Start of the excerpt in seconds.
    start: float = 0.0
    #: Its duration in seconds; to the end of the file by default.
    duration: float | None = None

    def __str__(self) -> str:
        return f"{self.path} (stream {self.stream})" if self.stream else str(self.path)

    def open(self, block: int = 65536) -> AudioReader:
        """Open the excerpt for reading, in blocks of `block` samples."""
        return AudioReader(self.path, self.start, self.duration, block, self.stream)
