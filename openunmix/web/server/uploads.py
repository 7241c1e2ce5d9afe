"""Uploads: written to disk as they arrive, aborted as soon as they exceed a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel, Field
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

_FIELDS = {"model": False, "targets": True, "residual": False}  # name: whether it can be repeated
_MAX_FIELD = 1000  # bytes of a value
_MAX_PARTS = 50
_MAX_OVERHEAD = 100_000  # bytes of a form beside the file

_TIMEOUT = 60.0  # seconds without a byte after which an upload is aborted


class FormDescription(BaseModel, extra="forbid"):
    """The form as OpenAPI describes it."""

    file: bytes = Field(description="Audio in any format that FFmpeg reads. One file per request.")
    model: str = Field("", description="Name of a model; the server's default if not given.")
    targets: list[str] = Field(
        [], description="Targets to separate, one per field; all targets if not given."
    )
    residual: bool = Field(False, description="Also return the residual as a stem.")


@dataclass
class Form:
    """An upload: the file, which is on disk, and the values of the other fields."""

    name: str | None = None  # untrusted; None if there was no file
    size: int = 0  # bytes of the file
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """Value of a field; None if it is missing or empty."""
        values = self.fields.get(name, [])
        return values[-1] if values and values[-1] else None


class _Parts:
    """State and callbacks of the parser."""

    def __init__(self) -> None:
        self.form = Form()
        self.received: list[bytes] = []  # of the file, not yet written
        self.ended = False
        self._count = 0
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._field: str | None = None  # of the current part; None for the file
        self._value = b""

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Methods that the parser calls, by name."""
        return {name: getattr(self, name) for name in dir(self) if name.startswith("on_")}

    def on_part_begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise HTTPException(400, "the form has too many fields")
        self._headers, self._value = {}, b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def on_headers_finished(self) -> None:
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

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self.received.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD:
            raise HTTPException(422, f"{self._field!r} is longer than {_MAX_FIELD} characters")

    def on_part_end(self) -> None:
        if self._field is None:
            return
        values = self.form.fields.setdefault(self._field, [])
        values.append(self._value.decode("utf-8", "replace"))
        if len(values) > 1 and not _FIELDS[self._field]:
            raise HTTPException(422, f"{self._field!r} is there twice")

    def on_end(self) -> None:
        self.ended = True


async def receive(request: Request, path: Path, max_size: int) -> Form:
    """Receive a form and write its file to ``path``, at most ``max_size`` bytes."""
    parts = _Parts()
    parser = MultipartParser(_boundary(request), parts.callbacks())  # type: ignore[arg-type]
    too_large = HTTPException(
        413, f"the file is larger than {max_size / 1e6:g} MB, the maximum of this server"
    )
    if expected_size(request) > max_size + _MAX_OVERHEAD:
        raise too_large
    received = 0
    try:
        with path.open("xb") as file:
            async for chunk in _chunks(request):
                received += len(chunk)
                if received > max_size + _MAX_OVERHEAD:
                    raise too_large
                parser.write(chunk)
                await run_sync(_write, file, parts)
                if parts.form.size > max_size:
                    raise too_large
            await run_sync(file.close)
    except MultipartParseError as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    _check(parts)
    return parts.form


def expected_size(request: Request) -> int:
    """Length of the body that the client announces, 0 if it does not."""
    claimed = request.headers.get("content-length", "0")
    return int(claimed) if claimed.isdecimal() else 0


def _boundary(request: Request) -> bytes:
    """Boundary between the parts of the form."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise HTTPException(415, "send the file as multipart/form-data, in the field 'file'")
    if not options.get(b"boundary"):
        raise HTTPException(400, "multipart/form-data without a boundary")
    return options[b"boundary"]


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives; raise 408 if nothing does."""
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(_TIMEOUT):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise HTTPException(408, "the upload has stalled; send the file again") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the client disconnected") from error  # in the log
        yield chunk


def _write(file: BinaryIO, parts: _Parts) -> None:
    """Write the received bytes of the file."""
    for data in parts.received:
        file.write(data)
        parts.form.size += len(data)
    parts.received.clear()


def _check(parts: _Parts) -> None:
    """Raise unless the form is complete."""
    if not parts.ended:
        raise HTTPException(400, "the form is truncated; send the file again")
    if parts.form.name is None:
        raise HTTPException(422, "there is no file; send it in the field 'file'")
    if parts.form.size == 0:
        raise HTTPException(422, "the file is empty; send it again")
