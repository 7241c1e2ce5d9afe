"""Everything that FFmpeg knows, through PyAV."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from openunmix.audio._aac import aac_layout
from openunmix.audio._mpeg import parts_of_mpeg, stated_frames
from openunmix.audio._paths import StrPath, codec_errors, quote
from openunmix.audio._spliced import Part, SplicedFile
from openunmix.audio.channels import Block, default_layout
from openunmix.audio.info import AudioInfo, check_stream, drop, truncated
from openunmix.errors import AudioFileError

if TYPE_CHECKING:
    from av import AudioFrame, AudioLayout, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_DATA_POINTERS = 8  # AV_NUM_DATA_POINTERS: planes of a frame that need no list of their own


class AvDecoder:
    """One audio stream of any container that FFmpeg knows."""

    def __init__(
        self,
        path: StrPath,
        stream: int | None = None,
        parts: Sequence[Part] | None = None,
        samples: int | None = None,
    ) -> None:
        self._path = path
        self._parts = list(parts) if parts else [range(os.path.getsize(path))]
        with ExitStack() as stack:
            self._container = self._open(stack)
            span = self._parts[0]
            if self._container.format.name in ("mp3", "aac") and isinstance(span, range):
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
        layout = codec.layout if codec is not None else None
        if layout is None or not codec.sample_rate or not layout.nb_channels:
            raise AudioFileError(
                f"{quote(self._path)} has audio that cannot be decoded here; convert it to WAV"
            )
        names, custom = channel_names(layout), _is_custom(layout)
        if custom:  # as a plain count, which needs no memory of its own in any frame
            codec.options = {**codec.options, "ch_layout": f"{layout.nb_channels}C"}
        #: Whether PyAV handles the memory of such frames wrongly.
        self.is_unusual = custom or layout.nb_channels >= _DATA_POINTERS
        info = _describe(self._container, self._stream, names, len(streams))
        self.info = info if samples is None else replace(info, samples=samples)
        self._frames = self._decode_frames()

    def name_channels(self) -> None:
        """Take over the order of the decoder; where it differs, the container's is not used."""
        with codec_errors(f"{quote(self._path)} is damaged or cut short"):
            first = next(self._frames, None)
        if first is not None:
            self._frames = chain([first], self._frames)
            names = channel_names(first[0].layout)
            if _are_known(names) and len(names) == self.info.channels:
                self.info = replace(self.info, layout=names)

    def chunks(self, first: int) -> Iterator[Block]:
        """Yield chunks from the sample `first` to the end; what is before it is decoded too."""
        return drop(self._decode(), first)

    def _decode_frames(self) -> Iterator[tuple[AudioFrame, Packet[AudioStream]]]:
        """Yield all frames of the stream, each with its packet; raise where it is damaged."""
        import av

        found, damage = 0, None
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
                found, damage = found + frame.samples, None
                yield frame, packet

    def _decode(self) -> Iterator[Block]:
        """Yield all chunks of the stream."""
        found, exact, padded = 0, True, False
        last: Block | None = None
        duration: int | None = None
        with codec_errors(f"{quote(self._path)} is damaged or cut short"):
            for frame, packet in self._frames:
                block = self._samples(frame)
                if last is not None:
                    # A packet that holds more than it lasts is in a container whose clock does
                    # not count samples: a remuxed MKV, whose times are in milliseconds.
                    exact = exact and duration is not None and last.shape[1] <= duration
                    padded = block.shape == last.shape  # PCM and FLAC end with a short frame
                    found += last.shape[1]
                    yield last
                same_clock = packet.time_base == Fraction(1, self.info.sample_rate)
                last, duration = block, packet.duration if same_clock else None
        if last is not None:
            # The last frame of an MP4 is padded; the packet's duration is that of the audio.
            last = last[:, : duration if exact and padded and duration else None]
            found += last.shape[1]
            yield last
        self._check_complete(found)

    def _samples(self, frame: AudioFrame) -> Block:
        """Convert a frame to samples; raise if its format differs from that of the file."""
        keep_custom(frame.layout)
        if (frame.layout.nb_channels, frame.rate) != (self.info.channels, self.info.sample_rate):
            raise AudioFileError(
                f"{quote(self._path)} changes its channels or its sample rate on the way; "
                "convert it to WAV first"
            )
        return _to_float(frame)

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


def _describe(
    container: InputContainer, stream: AudioStream, layout: tuple[str, ...], streams: int
) -> AudioInfo:
    """Format of a stream, as FFmpeg knows it before decoding."""
    codec = stream.codec_context
    rate, channels = codec.sample_rate, len(layout)
    samples = None
    if stream.duration is not None and stream.time_base is not None:
        samples = round(stream.duration * stream.time_base * rate)
    elif container.duration is not None:
        samples = round(Fraction(container.duration, 1_000_000) * rate)
    if not _are_known(layout):
        stated = aac_layout(codec.extradata or b"") if codec.name == "aac" else ()
        layout = stated if len(stated) == channels else default_layout(channels)
    names = container.format.name.split(",")
    return AudioInfo(
        sample_rate=rate,
        channels=channels,
        samples=samples or None,  # 0 may mean unknown
        format="mp4" if "mp4" in names else names[0],
        codec=codec.name.removesuffix("float"),
        layout=layout,
        streams=streams,
    )


def channel_names(layout: AudioLayout) -> tuple[str, ...]:
    """Names of the channels; what FFmpeg does not know is called NONE or UNK."""
    keep_custom(layout)
    return tuple(channel.name for channel in layout.channels)


def keep_custom(layout: AudioLayout) -> None:
    """Never free a custom layout: PyAV frees its map, which belongs to the codec or the frame."""
    if _is_custom(layout):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def _is_custom(layout: AudioLayout) -> bool:
    """Whether FFmpeg has no name for the layout; it then lists the channels."""
    return "channels (" in layout.name


def _are_known(names: tuple[str, ...]) -> bool:
    """Whether a layout has names at all."""
    return any(name not in ("NONE", "UNK") for name in names)


def _to_float(frame: AudioFrame) -> Block:
    """Convert a frame to float32, full scale at 1, shape (channels, samples)."""
    from av.audio.plane import AudioPlane

    channels, name = frame.layout.nb_channels, frame.format.name
    dtype = np.dtype({"u": "u", "s": "i"}.get(name[0], "f") + str(frame.format.bytes))
    planes, width = (channels, 1) if frame.format.is_planar else (1, channels)
    # `frame.planes` has room for eight pointers and reads on until it finds a null pointer.
    rows = [
        np.frombuffer(memoryview(AudioPlane(frame, index)), dtype, frame.samples * width)
        for index in range(planes)
    ]
    samples = np.stack(rows) if width == 1 else rows[0].reshape(-1, width).T
    block: Block = samples.astype(np.float32)
    if samples.dtype.kind == "u":  # 8 bits
        block = block / np.float32(128) - np.float32(1)
    elif samples.dtype.kind == "i":
        block /= 2.0 ** (8 * samples.dtype.itemsize - 1)
    return block
