"""What libsndfile does not read or write, through PyAV: the extra ``formats``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from openunmix_lite.errors import LiteError
from openunmix_lite.types import Real

_BIT_RATE = 128_000  # per channel


class Decoder:
    """The first audio stream of any container that FFmpeg knows."""

    def __init__(self, path: Path) -> None:
        import av

        self._path = path
        # An open file and no protocol: nothing inside the file can make FFmpeg open another.
        self._file = path.open("rb")
        try:
            self._container: Any = av.open(
                self._file, options={"protocol_whitelist": "none"}, metadata_errors="replace"
            )
            stream: Any = self._container.streams.audio[0]
            self.sample_rate, self.channels = stream.sample_rate, stream.channels
        except (av.FFmpegError, IndexError, AttributeError, ValueError) as error:
            self._file.close()
            raise LiteError(
                f"{str(path)!r} is damaged or has no audio; give an audio file"
            ) from error
        seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
        self.samples = round(seconds * self.sample_rate)
        self.tags = {key.lower(): text for key, text in self._container.metadata.items()}
        self._stream = stream

    def blocks(self) -> Iterator[Real]:
        """Yield all of the stream; raise LiteError where audio is lost."""
        found = 0
        for block in self._frames():
            found += block.shape[1]
            yield block
        exact = self._container.format.name in ("mp3", "mov,mp4,m4a,3gp,3g2,mj2")
        if not found or (exact and found < self.samples - self.sample_rate // 4):
            raise LiteError(
                f"{str(self._path)!r} is damaged or cut short: decoding stopped after {found} of "
                f"{self.samples} samples; fetch or export it again"
            )

    def _frames(self) -> Iterator[Real]:
        """Yield decoded frames; what cannot be decoded is harmless only before and after them."""
        import av

        found, damage = 0, None
        with self._file, self._container:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    damage = error
                    continue
                for frame in frames:
                    if found and damage is not None:
                        raise LiteError(f"{str(self._path)!r} is damaged after sample {found}")
                    block = _to_float(frame, self.channels)
                    if (frame.sample_rate, len(block)) != (self.sample_rate, self.channels):
                        raise LiteError(
                            f"{str(self._path)!r} changes its format on the way; convert it to WAV"
                        )
                    # The last frame of an MP4 is padded; its packet says what is audio.
                    is_exact = packet.time_base * self.sample_rate == 1 and packet.duration
                    found, damage = found + block.shape[1], None
                    yield block[:, : packet.duration] if is_exact and len(frames) == 1 else block


def _to_float(frame: Any, channels: int) -> Real:
    """Convert a frame to float32, full scale at 1, (channels, samples)."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    if samples.dtype.kind == "u":
        return samples.astype(np.float32) / 128 - 1
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float32)


class Encoder:
    """AAC in MP4."""

    def __init__(self, file: BinaryIO, sample_rate: int, channels: int) -> None:
        import av

        self._layout, self._rate, self._position = ("mono", "stereo")[channels - 1], sample_rate, 0
        options = {"movie_timescale": str(sample_rate)}  # by default lengths are rounded to 1 ms
        self._container: Any = av.open(file, mode="w", format="ipod", options=options)
        self._stream: Any = self._container.add_stream(
            "aac", rate=sample_rate, layout=self._layout, bit_rate=_BIT_RATE * channels
        )

    def write(self, samples: Real) -> None:
        """Encode (samples, channels)."""
        import av

        planes = np.ascontiguousarray(samples.T)
        if planes.shape[1]:
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._position
            self._position += planes.shape[1]
            self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._position:
            self._container.mux(self._stream.encode(None))
        self._container.close()
