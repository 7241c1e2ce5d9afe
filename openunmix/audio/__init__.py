"""Audio files, read and written as streams of blocks.

This is the only module that knows codecs: WAV, FLAC, Ogg, Opus and AIFF go through
libsndfile, MP3, MP4, WebM and everything else through FFmpeg's libraries, tags through
mutagen. They are loaded when a file is opened, not with this module. A block is a float32
array of shape (channels, samples), full scale at 1, its channels in the order of WAV; a
file of hours is never in memory as a whole unless `read_audio` is asked for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openunmix.audio._paths import StrPath
from openunmix.audio.channels import default_layout, downmix_to_stereo
from openunmix.audio.decoders import AudioInfo, open_decoder
from openunmix.audio.encoders import (
    OUTPUT_FORMATS,
    OutputFormat,
    clipping_gain,
    output_format,
    supported_sample_rate,
)
from openunmix.audio.reading import AudioReader, check_finite
from openunmix.audio.resampling import Resampler, resample, resampled_length
from openunmix.audio.source import AUDIO_EXTENSIONS, AudioSource
from openunmix.audio.stem_mp4 import STEM_MP4, STEM_MP4_STREAMS, write_stem_mp4
from openunmix.audio.tags import copy_tags
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
    "OutputFormat",
    "Resampler",
    "check_finite",
    "clipping_gain",
    "copy_tags",
    "default_layout",
    "downmix_to_stereo",
    "output_format",
    "probe",
    "read_audio",
    "resample",
    "resampled_length",
    "supported_sample_rate",
    "write_stem_mp4",
]


class AudioClip(NamedTuple):
    """Audio in memory: a waveform of shape (channels, samples), float32, and its rate in Hz."""

    waveform: Tensor
    sample_rate: int


def probe(path: StrPath) -> AudioInfo:
    """Read what an audio file says about itself, without decoding it.

    Parameters
    ----------
    path : str or path
        A regular file.

    Returns
    -------
    AudioInfo
        Sample rate, channels, length and coding of the first audio stream.

    Raises
    ------
    AudioFileError
        If the file is missing, no regular file, empty, unreadable or not audio.
    """
    decoder = open_decoder(path)
    decoder.close()
    return decoder.info


def read_audio(
    path: StrPath,
    start: float = 0.0,
    duration: float | None = None,
    stream: int | None = None,
) -> AudioClip:
    """Read a file, or a part of it, into memory.

    Parameters
    ----------
    path : str or path
        A regular file.
    start : float >= 0
        First sample to read, in seconds, rounded to a sample.
    duration : float, optional
        Seconds to read; None or a negative value means to the end. A file that ends
        earlier gives less.
    stream : int, optional
        Which audio stream of a file with several, counted from 0, the default.

    Returns
    -------
    AudioClip
        `waveform` of shape (channels, samples), float32, and `sample_rate` in Hz.

    Raises
    ------
    AudioFileError
        If the file cannot be read as audio, is damaged, ends before `start` or has
        values that are not finite. The message names it.
    ValueError
        If `start` or `duration` is out of range.
    """
    with AudioReader(path, start=start, duration=duration, stream=stream) as reader:
        waveform = np.concatenate(list(reader), axis=1)
        return AudioClip(torch.from_numpy(waveform), reader.info.sample_rate)
