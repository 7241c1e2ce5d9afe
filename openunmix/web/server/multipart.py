"""Multipart bodies, parsed as they arrive: RFC 2046, section 5.1, and RFC 7578 for forms.

The package python-multipart refuses a preamble and folded headers, and drops ``filename*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.message import Message
from email.utils import collapse_rfc2231_value

_MAX_BOUNDARY = 200  # characters; RFC 2046 allows 70
_MAX_HEADERS = 10_000  # bytes of the headers of a part


class MultipartParser:
    """Parser of a body that arrives in pieces; lines may end with CRLF or LF.

    ValueError if the body is not multipart.
    """

    def __init__(self, boundary: bytes) -> None:
        if not 0 < len(boundary) <= _MAX_BOUNDARY:
            raise ValueError(f"its boundary has {len(boundary)} characters")
        self._dashed = b"--" + boundary
        # delimiter := CRLF "--" boundary; then "--" after the last part, or padding and a line end.
        rest = rb"(?:(--)|[ \t]*(?=\r?\n))"
        self._delimiter = re.compile(rb"\n" + re.escape(self._dashed) + rest)
        self._buffer = b"\n"  # the first delimiter may be at the very start
        self._in_headers = False
        self.begun = self.ended = False

    def feed(self, data: bytes) -> Iterator[dict[str, str] | bytes | None]:
        """Yield for each part its headers, by lower-case names, its content in pieces, and None."""
        self._buffer += data
        while not self.ended:  # what follows is the epilogue
            if self._in_headers:
                headers = self._take_headers()
                if headers is None:
                    return
                yield headers
                continue
            found = self._delimiter.search(self._buffer)
            end = self._safe() if found is None else found.start()
            content = self._buffer[:end]
            self._buffer = self._buffer[found.end() if found else end :]
            if found is not None:
                content = content.removesuffix(b"\r")
            if self.begun and content:  # what precedes is the preamble
                yield content
            if found is None:
                return
            if self.begun:
                yield None
            self.begun, self.ended = True, found[1] is not None
            self._in_headers = not self.ended

    def _take_headers(self) -> dict[str, str] | None:
        """Remove the headers of a part from the buffer; None if they are not complete."""
        # The buffer begins with the line end of the delimiter, so that there may be no headers.
        found = re.search(rb"\r?\n\r?\n", self._buffer)
        if (len(self._buffer) if found is None else found.start()) > _MAX_HEADERS:
            raise ValueError("the headers of a part are too long")
        if found is None:
            return None
        lines = self._buffer[: found.start()].decode("utf-8", "replace")
        self._buffer, self._in_headers = self._buffer[found.end() :], False
        unfolded = re.sub(r"\r?\n(?=[ \t])", "", lines)
        pairs = (line.partition(":") for line in re.split(r"\r?\n", unfolded))
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _safe(self) -> int:
        """Return how much of the buffer cannot be the start of a delimiter."""
        start = self._buffer.rfind(b"\n")
        line = self._buffer[start + 1 :]
        padding = line.removeprefix(self._dashed)
        if start < 0 or not (self._dashed.startswith(line) or not padding.strip(b" \t\r-")):
            return len(self._buffer) - self._buffer.endswith(b"\r")
        return start - self._buffer.endswith(b"\r", 0, start)


def header_parameters(value: str) -> tuple[str, Mapping[str, str]]:
    """Split a header with parameters; ``name*`` (RFC 2231, RFC 5987) precedes ``name``."""
    message = Message()
    message["content-type"] = value
    try:
        (kind, _), *given = message.get_params([("", "")])
    except ValueError as error:
        raise ValueError(f"one of its headers is damaged: {value[:50]!r}") from error
    parameters: dict[str, str] = {}
    for name, content in sorted(given, key=lambda pair: isinstance(pair[1], tuple)):
        parameters[name.lower()] = collapse_rfc2231_value(content, "replace")
    return kind.lower(), parameters
