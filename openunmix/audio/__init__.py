"""Reading and writing of audio files as streams of blocks.

WAV, FLAC, Ogg and AIFF are decoded by libsndfile, MP3, MP4, WebM and everything else by
FFmpeg's libraries; mutagen copies the tags. They are imported when a file is opened. A block is
a float32 array of shape (channels, samples), full scale at 1, its channels in the order of WAV.
Memory does not depend on the length of a file, except for `read_audio`.
"""

from __future__ import annotations

from openunmix.audio.encoders import OUTPUT_FORMATS
from openunmix.audio.info import AudioInfo
from openunmix.audio.reading import AudioClip, AudioReader, probe, read_audio
from openunmix.audio.resampling import resample
from openunmix.audio.source import AUDIO_EXTENSIONS, AudioSource
from openunmix.audio.stem_mp4 import STEM_MP4, STEM_MP4_STREAMS, write_stem_mp4
from openunmix.audio.writing import AudioWriter

__all__ = [
    "AUDIO_EXTENSIONS",
    "OUTPUT_FORMATS",
    "STEM_MP4",
    "STEM_MP4_STREAMS",
    "AudioClip",
    "AudioInfo",
    "AudioReader",
    "AudioSource",
    "AudioWriter",
    "probe",
    "read_audio",
    "resample",
    "write_stem_mp4",
]
