"""Decoders: libsndfile, and FFmpeg for what libsndfile does not read well."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from openunmix.audio._paths import StrPath, absolute, check_regular_file, codec_errors, quote
from openunmix.audio.channels import Block, default_layout, order_of_vorbis
from openunmix.errors import AudioFileError

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_CHUNK = 65536  # samples per channel that libsndfile decodes in one call

# Magic numbers of what libsndfile reads. MP3 is left to FFmpeg, because libsndfile's decoder
# prints on stderr and stops at the length that the header claims.
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b"caff", b".snd")


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


def open_decoder(path: StrPath, stream: int | None = None) -> _SndfileDecoder | _AvDecoder:
    """Open a file with the library that fits its content, whatever its extension."""
    check_regular_file(path)
    with codec_errors(f"{quote(path)} cannot be read"), open(path, "rb") as file:
        magic = file.read(4)
    decoder = _open_sndfile(path) if magic in _SNDFILE_MAGIC else None
    if decoder is None:
        return _AvDecoder(path, stream)
    if stream:
        decoder.close()
        _check_stream(path, stream, 1)
    return decoder


def _check_stream(path: StrPath, stream: int, streams: int) -> None:
    """Raise unless the file has that audio stream."""
    if not 0 <= stream < streams:
        raise AudioFileError(
            f"{quote(path)} has no audio stream {stream}: it has {streams}, counted from 0"
        )


def _drop(chunks: Iterator[Block], count: int) -> Iterator[Block]:
    """Drop the first `count` samples."""
    for chunk in chunks:
        if count < chunk.shape[1]:
            yield chunk[:, count:]
        count = max(0, count - chunk.shape[1])


def _truncated(path: StrPath, found: int, expected: int | str) -> AudioFileError:
    """Error for a file that ends too early."""
    return AudioFileError(
        f"{quote(path)} is damaged or cut short: decoding stopped after {found} of {expected} "
        "samples; fetch or export it again"
    )


# libsndfile ------------------------------------------------------------------------------


def _open_sndfile(path: StrPath) -> _SndfileDecoder | None:
    """Open a file with libsndfile; None if that fails."""
    import soundfile

    name = str(absolute(path)) if os.name == "nt" else os.fsencode(absolute(path))
    try:
        return _SndfileDecoder(path, soundfile.SoundFile(name))
    except (soundfile.SoundFileError, TypeError):  # TypeError: anything named *.raw
        return None


class _SndfileDecoder:
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
            return _drop(self._decode(0), first)
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
                raise _truncated(self._path, position, self._handle.frames)
            position += chunk.shape[1]
            yield chunk[self._order] if self._order else chunk


def _has_end_of_stream(path: StrPath) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 2 * 65536))  # a page has at most 65307 bytes
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)


# FFmpeg ----------------------------------------------------------------------------------


class _QuietFile(FileIO):
    """File whose `seek` returns -1 instead of raising, which PyAV would print."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset; return -1 if it is negative, as in damaged files."""
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1


class _AvDecoder:
    """One audio stream of any container that FFmpeg knows."""

    def __init__(self, path: StrPath, stream: int | None = None) -> None:
        import av

        self._path = path
        with ExitStack() as stack:
            file = stack.enter_context(_QuietFile(absolute(path)))
            # An open file and no protocol: neither a name such as http:... nor a playlist inside
            # the file can make FFmpeg open anything else.
            with codec_errors(f"{quote(path)} is damaged or not an audio file"):
                container = av.open(
                    file,
                    mode="r",
                    options={"protocol_whitelist": "none"},
                    metadata_errors="replace",
                )
            self._container = stack.enter_context(container)
            self._select(stream or 0)
            self.close = stack.pop_all().close

    def _select(self, index: int) -> None:
        """Select an audio stream; raise if it is missing or cannot be decoded."""
        streams = self._container.streams.audio
        if not streams:
            raise AudioFileError(f"{quote(self._path)} has no audio stream; give an audio file")
        _check_stream(self._path, index, len(streams))
        self._stream = streams[index]
        codec = self._stream.codec_context
        if codec is None or not codec.sample_rate or not codec.layout.nb_channels:
            raise AudioFileError(
                f"{quote(self._path)} has audio that cannot be decoded here; convert it to WAV"
            )
        self.info = _describe(self._container, self._stream, len(streams))

    def chunks(self, first: int) -> Iterator[Block]:
        """Yield chunks from the sample `first` to the end; what is before it is decoded too."""
        return _drop(self._decode(), first)

    def _decode(self) -> Iterator[Block]:
        """Yield all chunks of the stream; raise where it is damaged."""
        import av

        found, damage = 0, None
        with codec_errors(f"{quote(self._path)} is damaged or cut short"):
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    damage = error
                    continue
                # Undecodable data before the first and after the last frame is common and
                # harmless (tags, a cut within a frame); between frames it means lost audio.
                if frames and found and damage is not None:
                    raise AudioFileError(
                        f"{quote(self._path)} is damaged after sample {found}: {damage}"
                    ) from damage
                for frame in frames:
                    block = self._samples(frame, packet)
                    found += block.shape[1]
                    damage = None
                    yield block
        self._check_complete(found)

    def _samples(self, frame: AudioFrame, packet: Packet[AudioStream]) -> Block:
        """Convert a frame to samples; raise if its format differs from that of the file."""
        block = _to_float(frame)
        if block.shape[0] != self.info.channels or frame.rate != self.info.sample_rate:
            raise AudioFileError(
                f"{quote(self._path)} changes its channels or its sample rate on the way; "
                "convert it to WAV first"
            )
        # The last frame of an MP4 is padded; the packet's duration is that of the audio.
        exact = packet.time_base == Fraction(1, self.info.sample_rate)
        return block[:, : packet.duration] if exact and packet.duration else block

    def _check_complete(self, found: int) -> None:
        """Raise if much less was decoded than a reliable header states."""
        expected, rate = self.info.samples, self.info.sample_rate
        reliable = self.info.format == "mp4" or (
            self.info.format == "mp3" and _has_length_header(self._path)
        )
        if reliable and expected is not None and found < expected - rate // 4:
            raise _truncated(self._path, found, expected)
        if not found:
            raise AudioFileError(f"{quote(self._path)} has no audio that can be decoded")


def _describe(container: InputContainer, stream: AudioStream, streams: int) -> AudioInfo:
    """Format of a stream, as FFmpeg knows it before decoding."""
    codec = stream.codec_context
    rate, channels = codec.sample_rate, codec.layout.nb_channels
    samples = None
    if stream.duration is not None and stream.time_base is not None:
        samples = round(stream.duration * stream.time_base * rate)
    elif container.duration is not None:
        samples = round(Fraction(container.duration, 1_000_000) * rate)
    names = container.format.name.split(",")
    layout = tuple(channel.name for channel in codec.layout.channels)
    return AudioInfo(
        sample_rate=rate,
        channels=channels,
        samples=samples or None,  # 0 may mean unknown
        format="mp4" if "mp4" in names else names[0],
        codec=codec.name.removesuffix("float"),
        layout=layout if len(layout) == channels else default_layout(channels),
        streams=streams,
    )


def _to_float(frame: AudioFrame) -> Block:
    """Convert a frame to float32, full scale at 1, shape (channels, samples)."""
    samples: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    block: Block = samples.astype(np.float32)
    if samples.dtype.kind == "u":  # 8 bits
        block = block / np.float32(128) - np.float32(1)
    elif samples.dtype.kind == "i":
        block /= 2.0 ** (8 * samples.dtype.itemsize - 1)
    return block


def _has_length_header(path: StrPath) -> bool:
    """Whether the first frame of an MP3 states how many follow."""
    with open(path, "rb") as file:
        head = file.read(10)
        # An ID3 tag may come first; its size has seven bits per byte.
        size = sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
        file.seek(10 + size if head[:3] == b"ID3" else 0)
        frame = file.read(4096)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
