"""Where audio is: a file, which of its streams, and which part of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from openunmix.audio.reading import AudioReader

__all__ = ["AUDIO_EXTENSIONS", "AudioSource"]

AUDIO_EXTENSIONS = (
    *(".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"),
    *(".ac3", ".wma", ".mp2", ".mp3", ".aac", ".mka", ".m4a", ".oga", ".ogg", ".opus"),
    *(".ape", ".wv", ".au", ".caf", ".aif", ".aiff", ".flac", ".w64", ".rf64", ".wav"),
)
"""Extensions of the files that are taken for audio when a folder is searched, in lower case.
Where a folder holds the same audio in several formats, the last one is preferred."""


class AudioSource(NamedTuple):
    """Where audio is: an excerpt of one stream of a file.

    Attributes
    ----------
    path : Path
        The file.
    stream : int, optional
        Index of the audio stream; the first by default.
    start : float >= 0
        Start of the excerpt in seconds.
    duration : float, optional
        Its duration in seconds; to the end of the file by default.

    Examples
    --------
    >>> str(AudioSource(Path("song.stem.mp4"), stream=4))
    'song.stem.mp4 (stream 4)'
    """

    path: Path
    stream: int | None = None
    start: float = 0.0
    duration: float | None = None

    def __str__(self) -> str:
        return f"{self.path} (stream {self.stream})" if self.stream else str(self.path)

    def open(self, block: int = 65536) -> AudioReader:
        """Open the excerpt for reading.

        Parameters
        ----------
        block : int > 0
            Block length in samples.

        Returns
        -------
        AudioReader
            A context manager and an iterator over blocks, see there for what it raises.
        """
        return AudioReader(self.path, self.start, self.duration, block, self.stream)
