"""Output formats, and the two encoders that write them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from openunmix.audio._paths import PartFile
from openunmix.audio._wav import wav_format, wav_header
from openunmix.audio.channels import Block

_CHUNK = 4096  # libsndfile puts a whole write to Vorbis on its stack, which more would overflow

# Peak of integer formats after a gain, below full scale so that rounding cannot clip.
_CEILING = 0.9999

# Bits per second and channel.
_BIT_RATE = 128_000


class OutputFormat(NamedTuple):
    """A format that can be written; lossy if it has no `depths`."""

    extension: str  # with its dot, in lower case
    container: str
    codec: str
    depths: tuple[str, ...] = ()  # "16" and "24" bits integer, "32f" float; the last is the default
    max_channels: int = 2
    sample_rates: tuple[int, ...] = ()  # in Hz, ascending; empty for any
    max_samples: int = 2**63

    @property
    def default_depth(self) -> str | None:
        """Depth that is used if none is given."""
        return self.depths[-1] if self.depths else None


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_ENCODED_RATES = (*_MPEG_RATES, 64000, 88200, 96000)

OUTPUT_FORMATS: Mapping[str, OutputFormat] = MappingProxyType(
    {
        entry.extension: entry
        for entry in (
            OutputFormat(".wav", "WAV", "pcm", ("16", "24", "32f"), 1024),
            OutputFormat(".flac", "FLAC", "flac", ("16", "24"), 8, max_samples=2**36 - 1),
            OutputFormat(".ogg", "OGG", "vorbis", sample_rates=(*_ENCODED_RATES, 176400, 192000)),
            OutputFormat(".opus", "ogg", "libopus", sample_rates=_OPUS_RATES),
            OutputFormat(".mp3", "MP3", "mpeg_layer_iii", sample_rates=_MPEG_RATES),
            OutputFormat(".m4a", "ipod", "aac", sample_rates=_ENCODED_RATES),
        )
    }
)

# About 256 kbit/s for stereo, MP3 320, because stems are processed further.
_QUALITY: Mapping[str, Mapping[str, Any]] = {
    ".ogg": {"compression_level": 0.2},
    ".mp3": {"compression_level": 0.0, "bitrate_mode": "CONSTANT"},
}

_SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}


def output_format(extension: str) -> OutputFormat:
    """Return the format of an extension, with or without its dot, in any case."""
    key = "." + extension.lower().lstrip(".")
    if key not in OUTPUT_FORMATS:
        raise ValueError(
            f"cannot write the format {extension!r}; choose one of {', '.join(OUTPUT_FORMATS)}"
        )
    return OUTPUT_FORMATS[key]


def supported_sample_rate(extension: str, sample_rate: int) -> int:
    """Sample rate at which a format stores audio: the same, or the next it supports, in Hz."""
    entry = output_format(extension)
    if entry.container == "FLAC" and sample_rate >= 2**16:
        # 16 bits count Hz or tens of Hz (RFC 9639, section 9.1.6); what is above all is halved.
        tens = -(-sample_rate // 10)
        return 10 * tens if tens < 2**16 else 384000
    rates = entry.sample_rates
    if not rates or sample_rate in rates:
        return sample_rate
    return next((rate for rate in rates if rate > sample_rate), rates[-1])


def clipping_gain(peak: float, extension: str, depth: str | None = None) -> float:
    """Gain that keeps a signal of that peak from clipping in a format; 1 for float.

    `extension` is a key of `OUTPUT_FORMATS`, or `STEM_MP4`. Lossy formats count as integer:
    players clip what they hold beyond full scale.
    """
    entry = OUTPUT_FORMATS.get(extension)
    if peak <= 1 or (entry and (depth or entry.default_depth) == "32f"):
        return 1.0
    return _CEILING / peak


class SndfileEncoder:
    """WAV, FLAC, Ogg Vorbis and MP3 through libsndfile.

    Of a WAV it writes the samples only: its header would not become that of an RF64.
    """

    def __init__(
        self,
        file: PartFile,
        entry: OutputFormat,
        depth: str | None,
        sample_rate: int,
        channels: int,
    ) -> None:
        import soundfile

        self._file, self._written = file, 0
        kind = {"format": entry.container, **_QUALITY.get(entry.extension, {})}
        self._format: bytes | None = None
        if entry.container == "WAV":
            width = {"16": 2, "24": 3}.get(depth or "", 4)
            self._frame = channels * width
            self._format = wav_format(sample_rate, channels, width, depth == "32f")
            file.write(wav_header(self._format, 0))
            kind = {"format": "RAW", "endian": "LITTLE"}
        # soundfile sets libsndfile to clip integers, not to wrap them around.
        self._handle = soundfile.SoundFile(
            file,
            "w",
            samplerate=sample_rate,
            channels=channels,
            subtype=_SUBTYPES[depth] if depth else entry.codec.upper(),
            **kind,
        )

    def write(self, block: Block) -> None:
        """Encode a block of shape (channels, samples)."""
        self._written += block.shape[1]
        for first in range(0, block.shape[1], _CHUNK):
            self._handle.write(np.ascontiguousarray(block[:, first : first + _CHUNK].T))

    def close(self) -> None:
        """Flush the encoder, and fill in the sizes of a WAV."""
        self._handle.close()
        if self._format is not None:
            data = self._written * self._frame
            self._file.seek(0, os.SEEK_END)
            self._file.write(bytes(data % 2))  # chunks begin at even offsets
            self._file.seek(0)
            self._file.write(wav_header(self._format, data))


class FfmpegEncoder:
    """AAC in MP4 and Opus in Ogg through FFmpeg: one stream, or several of the same format."""

    def __init__(
        self,
        file: PartFile,
        container: str,
        codec: str,
        sample_rate: int,
        channels: int,
        bit_rate: int | None = None,
        titles: tuple[str | None, ...] = (None,),
    ) -> None:
        import av

        # By default MP4 rounds the length of the audio to 1 ms.
        options = {} if container == "ogg" else {"movie_timescale": str(sample_rate)}
        self._container = av.open(file, mode="w", format=container, options=options)
        self._layout = "mono" if channels == 1 else "stereo"
        self._streams: list[Any] = []  # av calls them streams of any kind
        for title in titles:
            stream = self._container.add_stream(
                codec,
                rate=sample_rate,
                layout=self._layout,
                bit_rate=bit_rate or _BIT_RATE * channels,
            )
            if title is not None:
                stream.metadata["handler_name"] = title
            self._streams.append(stream)
        self._rate = sample_rate
        self._positions = [0] * len(titles)

    def write(self, block: Block, stream: int = 0) -> None:
        """Encode a block of shape (channels, samples) of a stream."""
        import av

        if not block.shape[1]:
            return
        samples = np.ascontiguousarray(block, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._positions[stream]
        self._positions[stream] += block.shape[1]
        self._container.mux(self._streams[stream].encode(frame))

    def close(self) -> None:
        """Flush the encoders and write the index."""
        try:
            for stream, position in zip(self._streams, self._positions, strict=True):
                if position:
                    self._container.mux(stream.encode(None))
        finally:
            self._container.close()
