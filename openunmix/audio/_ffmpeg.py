"""Everything that FFmpeg knows, through PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from openunmix.audio._mpeg import parts_of_mpeg, stated_frames
from openunmix.audio._paths import StrPath, codec_errors, quote
from openunmix.audio._spliced import Part, SplicedFile
from openunmix.audio.channels import Block, default_layout
from openunmix.audio.info import AudioInfo, check_stream, drop, truncated
from openunmix.errors import AudioFileError

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer


class AvDecoder:
    """One audio stream of any container that FFmpeg knows."""

    def __init__(
        self,
        path: StrPath,
        stream: int | None = None,
        span: range | None = None,
        samples: int | None = None,
    ) -> None:
        self._path = path
        span = span or range(os.path.getsize(path))
        self._parts: list[Part] = [span]
        with ExitStack() as stack:
            self._container = self._open(stack)
            if self._container.format.name in ("mp3", "aac"):
                self._parts = parts_of_mpeg(path, span)
                self._container = self._open(stack)
            self._select(stream or 0, samples)
            self.close = stack.pop_all().close

    def _open(self, stack: ExitStack) -> InputContainer:
        """Open the parts of the file as one."""
        import av

        # An open file and no protocol: neither a name such as http:... nor a playlist inside
        # the file can make FFmpeg open anything else.
        file = stack.enter_context(SplicedFile(self._path, self._parts))
        with codec_errors(f"{quote(self._path)} is damaged or not an audio file"):
            container = av.open(
                file,
                mode="r",
                options={"protocol_whitelist": "none"},
                metadata_errors="replace",
            )
        opened: InputContainer = stack.enter_context(container)
        return opened

    def _select(self, index: int, samples: int | None) -> None:
        """Select an audio stream; raise if it is missing or cannot be decoded."""
        streams = self._container.streams.audio
        if not streams:
            raise AudioFileError(f"{quote(self._path)} has no audio stream; give an audio file")
        check_stream(self._path, index, len(streams))
        self._stream = streams[index]
        codec = self._stream.codec_context
        if codec is None or not codec.sample_rate or not codec.layout.nb_channels:
            raise AudioFileError(
                f"{quote(self._path)} has audio that cannot be decoded here; convert it to WAV"
            )
        info = _describe(self._container, self._stream, len(streams))
        self.info = info if samples is None else replace(info, samples=samples)

    def chunks(self, first: int) -> Iterator[Block]:
        """Yield chunks from the sample `first` to the end; what is before it is decoded too."""
        return drop(self._decode(), first)

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
        rate, expected = self.info.sample_rate, None
        if self.info.format == "mp4" and self.info.samples is not None:
            expected = self.info.samples - rate // 4
        elif self.info.format == "mp3":  # FFmpeg may have guessed the length from the bit rate
            with SplicedFile(self._path, self._parts) as file:
                frames = stated_frames(file.read(8192)) or 0
            # Up to four of them are the encoder's delay and padding.
            expected = (frames - 8) * (1152 if rate >= 32000 else 576)
        if expected is not None and found < expected:
            raise truncated(self._path, found, expected)
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
