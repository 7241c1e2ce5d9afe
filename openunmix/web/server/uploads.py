"""Uploads: written to disk as they arrive, aborted as soon as they exceed a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from openunmix.web.server.multipart import MultipartParser, header_parameters

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
    """What has been received of a form."""

    def __init__(self) -> None:
        self.form = Form()
        self.received: list[bytes] = []  # of the file, not yet written
        self._count = 0
        self._field: str | None = None  # of the current part; None for the file
        self._value = b""

    def take(self, event: dict[str, str] | bytes | None) -> None:
        """Take what :meth:`MultipartParser.feed` yields."""
        if isinstance(event, dict):
            self._begin(event)
        elif event is None:
            self._end()
        elif self._field is None:
            self.received.append(event)
        else:
            self._value += event
            if len(self._value) > _MAX_FIELD:
                raise HTTPException(422, f"{self._field!r} is longer than {_MAX_FIELD} characters")

    def _begin(self, headers: dict[str, str]) -> None:
        """Begin a part."""
        self._count, self._value = self._count + 1, b""
        if self._count > _MAX_PARTS:
            raise HTTPException(400, "the form has too many fields")
        _, options = header_parameters(headers.get("content-disposition", ""))
        name = options.get("name", "")
        encoding = headers.get("content-transfer-encoding", "binary").lower()
        if encoding not in ("binary", "8bit", "7bit"):
            raise HTTPException(
                422, f"{name[:50]!r} is encoded as {encoding[:50]}; send it as it is"
            )
        if name == "file":
            if self.form.name is not None:
                raise HTTPException(422, "there are two files; send one file a request")
            if "filename" not in options:
                raise HTTPException(422, "'file' has no file name: send it as a file, not as text")
            # Browsers send a quote in a name as %22, and leave a percent sign as it is.
            self.form.name = options["filename"].replace("%22", '"')
            self._field = None
        elif name not in _FIELDS:
            raise HTTPException(
                422, f"there is no field {name[:50]!r}; there are file, {', '.join(_FIELDS)}"
            )
        else:
            self._field = name

    def _end(self) -> None:
        """End a part."""
        if self._field is None:
            return
        values = self.form.fields.setdefault(self._field, [])
        values.append(self._value.decode("utf-8", "replace"))
        if len(values) > 1 and not _FIELDS[self._field]:
            raise HTTPException(422, f"{self._field!r} is there twice")


async def receive(request: Request, path: Path, max_size: int) -> Form:
    """Receive a form and write its file to ``path``, at most ``max_size`` bytes."""
    parts = _Parts()
    too_large = HTTPException(
        413, f"the file is larger than {max_size / 1e6:g} MB, the maximum of this server"
    )
    if expected_size(request) > max_size + _MAX_OVERHEAD:
        raise too_large
    received = 0
    try:
        parser = MultipartParser(_boundary(request))
        with path.open("xb") as file:
            async for chunk in _chunks(request):
                received += len(chunk)
                if received > max_size + _MAX_OVERHEAD:
                    raise too_large
                for event in parser.feed(chunk):
                    parts.take(event)
                await run_sync(_write, file, parts)
                if parts.form.size > max_size:
                    raise too_large
            await run_sync(file.close)
    except ValueError as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    _check(parts, parser)
    return parts.form


def expected_size(request: Request) -> int:
    """Length of the body that the client announces, 0 if it does not."""
    claimed = request.headers.get("content-length", "0")
    return int(claimed) if claimed.isdecimal() else 0


def _boundary(request: Request) -> bytes:
    """Boundary between the parts of the form."""
    kind, options = header_parameters(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise HTTPException(415, "send the file as multipart/form-data, in the field 'file'")
    boundary = options.get("boundary", "").rstrip()
    if not boundary:
        raise HTTPException(400, "multipart/form-data without a boundary")
    return boundary.encode("latin-1", "replace")


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


def _check(parts: _Parts, parser: MultipartParser) -> None:
    """Raise unless the form is complete."""
    if not parser.begun:
        raise HTTPException(400, "the form cannot be read: its boundary is not in it")
    if not parser.ended:
        raise HTTPException(400, "the form is truncated; send the file again")
    # Browsers send an empty file without a name if none was chosen.
    if parts.form.name is None or not (parts.form.name or parts.form.size):
        raise HTTPException(422, "there is no file; send it in the field 'file'")
    if parts.form.size == 0:
        raise HTTPException(422, "the file is empty; send it again")
