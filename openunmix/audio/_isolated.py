"""Decoding in a process of its own: if FFmpeg or PyAV dies of a file, only that file fails."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from openunmix.audio._ffmpeg import AvDecoder
from openunmix.audio._paths import StrPath, quote
from openunmix.audio._spliced import Part
from openunmix.audio.channels import Block
from openunmix.audio.info import AudioInfo, drop
from openunmix.errors import AudioFileError

# The modules are found where this process found them, and not in the working directory.
_CODE = (
    "import sys; path, options, *sys.path = sys.argv[1:]; "
    "from openunmix.audio import _isolated; _isolated.main(path, options)"
)
_COMMAND = [sys.executable, "-c", _CODE]

# Every message is a number and that many units. Positive: samples of all channels; negative:
# bytes of an error message; 0: the end. The first message is the format as JSON, in bytes.
_HEADER = struct.Struct("<i")


class IsolatedDecoder:
    """Decoder that runs in a child process."""

    def __init__(
        self,
        path: StrPath,
        stream: int | None = None,
        parts: Sequence[Part] | None = None,
        samples: int | None = None,
    ) -> None:
        self._path, self._found = path, 0
        spans = [(part.start, part.stop) for part in parts or () if isinstance(part, range)]
        arguments = [os.fspath(path), json.dumps([stream, spans, samples]), *sys.path]
        self._process = subprocess.Popen(
            [*_COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        try:
            fields = json.loads(self._read(self._count()))
        except AudioFileError:
            self.close()
            raise
        self.info = AudioInfo(**{**fields, "layout": tuple(fields["layout"])})

    def chunks(self, first: int) -> Iterator[Block]:
        """Yield chunks from the sample `first` to the end."""
        return drop(self._decode(), first)

    def _decode(self) -> Iterator[Block]:
        """Yield all chunks."""
        channels = self.info.channels
        while samples := self._count():
            block = np.frombuffer(self._read(4 * channels * samples), dtype="<f4")
            self._found += samples
            yield block.reshape(channels, samples)

    def _count(self) -> int:
        """Read the header of a message; raise if it is an error."""
        count = int(_HEADER.unpack(self._read(_HEADER.size))[0])
        if count < 0:
            raise AudioFileError(self._read(-count).decode())
        return count

    def _read(self, size: int) -> bytes:
        """Read so many bytes; raise if the process died."""
        content = self._pipe.read(size)
        if len(content) < size:
            code = self._process.wait()
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise AudioFileError(
                f"{quote(self._path)} made its decoder crash after {self._found} samples ({name}); "
                "convert it to WAV first"
            )
        return content

    def close(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._pipe.close()
        self._process.wait()


def main(path: str, options: str) -> None:
    """Decode a file to standard output, in the child process."""
    with os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(2, 1)  # what libraries print must not come between
        try:
            stream, spans, samples = json.loads(options)
            decoder = AvDecoder(path, stream, [range(*span) for span in spans], samples)
            decoder.name_channels()
            _send(pipe, json.dumps(dataclasses.asdict(decoder.info)).encode())
            for block in decoder.chunks(0):
                _send(pipe, np.ascontiguousarray(block, "<f4").tobytes(), block.shape[1])
            pipe.write(_HEADER.pack(0))
        except AudioFileError as error:
            message = str(error).encode()
            _send(pipe, message, -len(message))


def _send(pipe: BinaryIO, content: bytes, count: int | None = None) -> None:
    """Write a message."""
    pipe.write(_HEADER.pack(len(content) if count is None else count) + content)
