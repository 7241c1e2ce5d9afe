"""Uploads, written to the disk as they arrive, and cut off as soon as they are too large."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

__all__ = ["FORM", "Form", "receive"]

# Names of fields beside the file, whether there can be several, and the room for each.
_FIELDS = {"model": False, "targets": True, "residual": False}
_LONGEST_FIELD = 1000
_MOST_PARTS = 50

# Beside the file there are the other fields and the lines between them.
_ENVELOPE = 100_000

# Seconds without a byte after which a client is given up.
_PATIENCE = 60.0

#: The form as OpenAPI describes it.
FORM = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The song, in any format that FFmpeg reads. One file a request.",
        },
        "model": {
            "type": "string",
            "description": "Name of a model; the server's default if not given.",
        },
        "targets": {
            "type": "array",
            "items": {"type": "string"},
            "description": "What to separate, a field each; all targets if not given.",
        },
        "residual": {
            "type": "boolean",
            "description": "Also make a stem of what the targets leave.",
        },
    },
}


@dataclass
class Form:
    """What a client has sent.

    Attributes
    ----------
    name : str, optional
        The name of the file, not to be trusted; None if there was no file.
    size : int
        Its bytes.
    fields : dict of str to list of str
        The values of the other fields.
    """

    name: str | None = None
    size: int = 0
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """Return the value of a field that can be there once; empty is like not given."""
        values = self.fields.get(name, [])
        return values[-1] if values and values[-1] else None


class _Parts:
    """Callbacks of the parser: sorts the bytes of the parts."""

    def __init__(self) -> None:
        self.form = Form()
        self.received: list[bytes] = []  # of the file, not yet written
        self.ended = False
        self._count = 0
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._field: str | None = None  # the part that is being read; None for the file
        self._value = b""

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return them by the parser's names."""
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > _MOST_PARTS:
            raise HTTPException(400, "the form has too many fields")
        self._headers, self._value = {}, b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file":
            if self.form.name is not None:
                raise HTTPException(422, "there are two files; send one file a request")
            if b"filename" not in options:
                raise HTTPException(422, "'file' has no file name: send it as a file, not as text")
            # Browsers send a quote in a name as %22, and leave a percent sign as it is.
            self.form.name = options[b"filename"].decode("utf-8", "replace").replace("%22", '"')
            self._field = None
        elif name not in _FIELDS:
            raise HTTPException(
                422, f"there is no field {name[:50]!r}; there are file, {', '.join(_FIELDS)}"
            )
        else:
            self._field = name

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self.received.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _LONGEST_FIELD:
            raise HTTPException(422, f"{self._field!r} is longer than {_LONGEST_FIELD} characters")

    def _part_end(self) -> None:
        if self._field is None:
            return
        values = self.form.fields.setdefault(self._field, [])
        values.append(self._value.decode("utf-8", "replace"))
        if len(values) > 1 and not _FIELDS[self._field]:
            raise HTTPException(422, f"{self._field!r} is there twice")

    def _end(self) -> None:
        self.ended = True


async def receive(request: Request, path: Path, largest: int) -> Form:
    """Receive a form with one file.

    Parameters
    ----------
    request : Request
        Its body has not been read yet.
    path : Path
        Where to write the file.
    largest : int
        Bytes that the file may have.

    Returns
    -------
    Form
        The fields, and what there is to know about the file.

    Raises
    ------
    HTTPException
        413 if it is too large, 400, 408, 415 or 422 if it is not what was expected.
    OSError
        If it cannot be written.
    """
    parts = _Parts()
    parser = MultipartParser(_boundary(request), parts.callbacks())  # type: ignore[arg-type]
    too_large = HTTPException(
        413, f"the file is larger than the {largest / 1e6:g} MB that are allowed here"
    )
    if expected_size(request) > largest + _ENVELOPE:
        raise too_large
    received = 0
    try:
        with path.open("xb") as file:
            async for chunk in _chunks(request):
                received += len(chunk)
                if received > largest + _ENVELOPE:
                    raise too_large
                parser.write(chunk)
                await run_sync(_write, file, parts)
                if parts.form.size > largest:
                    raise too_large
            await run_sync(file.close)
    except MultipartParseError as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    _check(parts)
    return parts.form


def expected_size(request: Request) -> int:
    """Return the length that a client claims, 0 if it does not."""
    claimed = request.headers.get("content-length", "0")
    return int(claimed) if claimed.isdecimal() else 0


def _boundary(request: Request) -> bytes:
    """Return what the parts of the form are separated by."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise HTTPException(415, "send the song as multipart/form-data, in the field 'file'")
    if not options.get(b"boundary"):
        raise HTTPException(400, "multipart/form-data without a boundary")
    return options[b"boundary"]


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield what arrives; raise if nothing does for a long time."""
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(_PATIENCE):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise HTTPException(408, "the upload has stalled; send the file again") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the client has hung up") from error  # for nobody to read
        yield chunk


def _write(file: BinaryIO, parts: _Parts) -> None:
    """Write what has arrived of the file."""
    for data in parts.received:
        file.write(data)
        parts.form.size += len(data)
    parts.received.clear()


def _check(parts: _Parts) -> None:
    """Raise unless the form is complete."""
    if not parts.ended:
        raise HTTPException(400, "the form ends before its last line; send the file again")
    if parts.form.name is None:
        raise HTTPException(422, "there is no file; send it in the field 'file'")
    if parts.form.size == 0:
        raise HTTPException(422, "the file is empty; send it again")
