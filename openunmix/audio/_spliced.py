"""Parts of a file, and bytes put in their place, read as one file by the codec libraries."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from io import RawIOBase
from itertools import accumulate
from typing import Any

from openunmix.audio._paths import StrPath, absolute

Part = bytes | range  # bytes, or offsets in the file


class SplicedFile(RawIOBase):
    """Read-only file made of parts of another one; `seek` returns -1 where it cannot go.

    PyAV would print the traceback of an exception in `seek`, which damaged files cause.
    """

    def __init__(self, path: StrPath, parts: Sequence[Part] | None = None) -> None:
        self.name = str(path)  # FFmpeg considers the extension where the content is ambiguous
        self._file = open(absolute(path), "rb", buffering=0)  # noqa: SIM115 - closed by close
        self._parts = [range(os.path.getsize(path))] if parts is None else list(parts)
        self._starts = [0, *accumulate(map(len, self._parts))]
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, also across parts; return how many bytes there were."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view) and self._position < self._starts[-1]:
            index = bisect_right(self._starts, self._position) - 1
            part, skipped = self._parts[index], self._position - self._starts[index]
            rest = part[skipped : skipped + len(view) - done]
            if isinstance(rest, range):
                self._file.seek(rest.start)
                rest = self._file.read(len(rest))
            if not rest:
                break
            view[done : done + len(rest)] = rest
            done += len(rest)
            self._position += len(rest)
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset; return -1 if it is negative, as in damaged files."""
        origin = (0, self._position, self._starts[-1])[whence]
        if origin + offset < 0:
            return -1
        self._position = origin + offset
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
