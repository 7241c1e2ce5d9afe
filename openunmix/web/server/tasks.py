"""Tasks of the worker processes: inspect, separate and export a file."""

from __future__ import annotations

import errno
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from openunmix.audio import STEM_MP4, AudioReader, write_stem_mp4
from openunmix.audio.encoders import clipping_gain
from openunmix.errors import AudioFileError
from openunmix.model import Separator
from openunmix.predict.files import FileOptions, separate_file
from openunmix.pretrained import ResolvedModel, load_separator, resolve_model
from openunmix.web.page import write_page
from openunmix.web.server.worker import DiskFullError, Report

#: Name of the residual as a stem.
RESIDUAL = "residual"

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


# The most recently used models of this process.
_loaded: OrderedDict[tuple[object, ...], tuple[ResolvedModel, Separator]] = OrderedDict()


def inspect(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Decode the start of the ``upload`` called ``name``; AudioFileError if it is not audio.

    Return its ``duration`` in seconds, None if unknown, and ``bytes_per_second`` as 32-bit floats.
    """
    with _messages(request), AudioReader(request["upload"]) as reader:
        info, length = reader.info, reader.length
        if next(iter(reader), None) is None:
            raise AudioFileError(f"{request['upload']!r} has no samples; export it again")
    channels = min(info.channels, 2) if len(info.layout) == info.channels else info.channels
    return {
        "duration": None if length is None else length / info.sample_rate,
        "bytes_per_second": 4 * info.sample_rate * channels,
    }


def separate(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Separate a file and write its player page.

    The ``request`` has the ``upload``, its ``name`` and ``title``, the ``folder`` for the results,
    ``model``, ``targets``, ``residual``, ``device``, the number of ``models`` to keep loaded,
    ``max_duration`` in seconds, and the ``files_url`` of the stems. Reports have the ``stage`` and
    the ``seconds`` of audio that are separated. Return ``model``, ``licence``, ``files`` by stem,
    those of the ``page``, ``duration`` in seconds, and ``notes``.
    """
    report(stage="preparing")
    folder = Path(request["folder"])
    with _messages(request):
        model, separator = _load(request)
        report(stage="separating", seconds=0.0)
        result = separate_file(
            Path(request["upload"]),
            folder,
            separator,
            FileOptions(residual=RESIDUAL if request["residual"] else None),
            progress=_limited(report, request["max_duration"]),
        )
        report(stage="finishing")
        page = write_page(
            folder / "page",
            result.outputs,
            title=request["title"],
            mixture=Path(request["upload"]),
            details=_details(model),
            downloads={name: request["files_url"] + quote(name) for name in result.outputs},
        )
        _sync(folder)
    return {
        "model": model.name,
        "licence": model.licence,
        "files": {name: path.name for name, path in result.outputs.items()},
        "page": sorted(path.name for path in page.parent.iterdir()),
        "duration": result.duration,
        "notes": [model.note] if model.note else [],
    }


def export(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write the ``upload`` called ``name`` and its ``stems`` to ``path``, a ``.stem.mp4``."""
    sources = {"": request["upload"], **request["stems"]}
    with _messages(request):
        gain = clipping_gain(max(_peak(path) for path in sources.values()), STEM_MP4)
        mixture = sources.pop("")
        write_stem_mp4(request["path"], mixture, sources, tags_from=request["upload"], gain=gain)
    return {}


def _peak(path: str) -> float:
    """Peak of a file."""
    with AudioReader(path) as reader:
        return max((float(np.abs(block).max(initial=0)) for block in reader), default=0.0)


def _load(request: dict[str, Any]) -> tuple[ResolvedModel, Separator]:
    """Return the requested model; the most recently used ones stay loaded."""
    key = (request["model"], tuple(request["targets"]), request["residual"])
    if key not in _loaded:
        while len(_loaded) >= request["models"]:
            _loaded.popitem(last=False)
        model = resolve_model(request["model"], request["targets"] or None, progress=False)
        separator = load_separator(model, residual=request["residual"], device=request["device"])
        _loaded[key] = model, separator
    _loaded.move_to_end(key)
    return _loaded[key]


def _limited(report: Report, longest: float) -> Callable[[float], None]:
    """Progress callback that raises ValueError beyond the maximum duration in seconds."""

    def progress(seconds: float) -> None:
        if seconds > math.ceil(longest):
            raise ValueError(f"the file is longer than the maximum of {longest:g} seconds")
        report(stage="separating", seconds=seconds)

    return progress


def _details(model: ResolvedModel) -> dict[str, str]:
    """Rows of the table on the page."""
    details = {"Model": model.name, "Targets": ", ".join(model.targets)}
    if model.licence:
        details["Licence of the weights"] = model.licence
    if model.note:
        details["Note"] = model.note
    return details


def _sync(folder: Path) -> None:
    """Flush all files of a folder to disk, so that a power cut leaves no partial results."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


@contextmanager
def _messages(request: dict[str, Any]) -> Iterator[None]:
    """Replace paths in errors by the name of the upload, and detect a full disk."""
    try:
        yield
    except (AudioFileError, OSError) as error:
        if _is_full(error):
            raise DiskFullError(
                "the disk of the server is full; remove old results or free some space, then "
                "try again"
            ) from error
        message = str(error).replace(repr(request["upload"]), repr(request["name"]))
        for path in (request["upload"], os.path.dirname(request["upload"])):
            message = message.replace(path, request["name"])
        raise AudioFileError(message) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is the cause of an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
