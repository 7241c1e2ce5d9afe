"""Location of audio: a file, one of its streams, an excerpt of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from openunmix.audio.reading import AudioReader

_VIDEO = "swf gxf mxf nut wtv rm rmvb dv vob mpe mpeg mpg trp tp m2t m2ts mts ts 3g2 3gp ismv"
_VIDEO += " ogv ogx f4v flv asf wmv divx avi m4v mk3d mkv qt mov mp4 webm"
_LOSSY = "gsm amr awb 3ga lc3 sbc spx ra qcp vqf mpc aa3 oma loas latm dts ec3 eac3 ac3 wma"
_LOSSY += " m2a mp1 mp2 mpa mp3 adts aac weba mka isma m4p m4r m4b m4a oga ogg opus"
_LOSSLESS = (
    "8svx avr paf pvf sox sph nist ircam sf voc snd au dsf dff dtshd mlp thd qoa shn tak tta"
)
_LOSSLESS += " ape wv caf afc aifc aiff aif flac w64 bw64 rf64 bwf wave wav"
AUDIO_EXTENSIONS = tuple(f".{name}" for name in f"{_VIDEO} {_LOSSY} {_LOSSLESS}".split())
"""Extensions of audio and video files that FFmpeg or libsndfile read by name, in lower case, for
searching folders. If a file is there in several formats, the last one is preferred."""


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
