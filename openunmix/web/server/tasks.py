"""What is done to files, in a process of its own: see :mod:`openunmix.web.server.worker`."""

from __future__ import annotations

import errno
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from openunmix.audio import STEM_MP4, AudioReader, clipping_gain, write_stem_mp4
from openunmix.errors import AudioFileError
from openunmix.model import Separator
from openunmix.predict.files import FileOptions, separate_file
from openunmix.pretrained import ResolvedModel, build_separator, resolve_model
from openunmix.web.page import write_page
from openunmix.web.server.worker import DiskFullError, Report

__all__ = ["RESIDUAL", "export", "inspect", "separate"]

#: The name of what the targets leave.
RESIDUAL = "residual"

_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Loaded(NamedTuple):
    """A model that is ready, and what there is to say about it."""

    model: ResolvedModel
    separator: Separator


# The models that this process used last.
_loaded: OrderedDict[tuple[object, ...], _Loaded] = OrderedDict()


def inspect(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Read what a file says about itself, and its first samples.

    Parameters
    ----------
    request : dict
        The ``upload`` and its ``name``.
    report : callable
        Not used.

    Returns
    -------
    dict
        Its ``duration`` in seconds, None if it cannot be told, and its ``bytes_per_second`` as
        32-bit floats.

    Raises
    ------
    AudioFileError
        If it is not audio.
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
    """Separate a file, and write the page to listen to it.

    Parameters
    ----------
    request : dict
        The ``upload``, its ``name`` and ``title``, the ``folder`` for the results, ``model``,
        ``targets`` and ``residual`` as asked for, ``device``, the number of ``models`` to keep
        loaded, ``max_duration`` in seconds, and the ``files_url`` at which there are stems.
    report : callable
        Called with the ``stage`` and, while separating, the ``seconds`` that are done.

    Returns
    -------
    dict
        The name of the ``model`` that was used, its ``licence``, the ``files`` by stem, the
        ``page``'s files, the ``duration`` in seconds, and ``notes`` for people.

    Raises
    ------
    OpenUnmixError, ValueError
        If it cannot be done; the message says why.
    """
    report(stage="preparing")
    folder = Path(request["folder"])
    with _messages(request):
        loaded = _load(request)
        report(stage="separating", seconds=0.0)
        result = separate_file(
            Path(request["upload"]),
            folder,
            loaded.separator,
            FileOptions(residual=RESIDUAL if request["residual"] else None),
            progress=_limited(report, request["max_duration"]),
        )
        report(stage="finishing")
        page = write_page(
            folder / "page",
            result.outputs,
            title=request["title"],
            mixture=Path(request["upload"]),
            details=_details(loaded, request),
            downloads={name: request["files_url"] + quote(name) for name in result.outputs},
        )
        _sync(folder)
    return {
        "model": loaded.model.name,
        "licence": loaded.model.licence,
        "files": {name: path.name for name, path in result.outputs.items()},
        "page": sorted(path.name for path in page.parent.iterdir()),
        "duration": result.duration,
        "notes": [loaded.model.note] if loaded.model.note else [],
    }


def export(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write a ``.stem.mp4`` of a mixture and its stems.

    Parameters
    ----------
    request : dict
        The ``upload`` and its ``name``, the paths of the ``stems`` by name, and the ``path`` to
        write.
    report : callable
        Not used.

    Returns
    -------
    dict
        Nothing.
    """
    sources = {"": request["upload"], **request["stems"]}
    with _messages(request):
        gain = clipping_gain(max(_peak(path) for path in sources.values()), STEM_MP4)
        mixture = sources.pop("")
        write_stem_mp4(request["path"], mixture, sources, tags_from=request["upload"], gain=gain)
    return {}


def _peak(path: str) -> float:
    """Return the largest absolute value of a file."""
    with AudioReader(path) as reader:
        return max((float(np.abs(block).max(initial=0)) for block in reader), default=0.0)


def _load(request: dict[str, Any]) -> _Loaded:
    """Return the model asked for; those used last stay loaded."""
    key = (request["model"], tuple(request["targets"]), request["residual"])
    if key not in _loaded:
        while len(_loaded) >= request["models"]:
            _loaded.popitem(last=False)
        model = resolve_model(request["model"], request["targets"] or None, progress=False)
        separator = build_separator(model, residual=request["residual"], device=request["device"])
        _loaded[key] = _Loaded(model, separator)
    _loaded.move_to_end(key)
    return _loaded[key]


def _limited(report: Report, longest: float) -> Callable[[float], None]:
    """Return what reports seconds, and raises if there are more than a file may have."""

    def progress(seconds: float) -> None:
        if seconds > math.ceil(longest):
            raise ValueError(f"the file is longer than the {longest:g} seconds allowed here")
        report(stage="separating", seconds=seconds)

    return progress


def _details(loaded: _Loaded, request: dict[str, Any]) -> dict[str, str]:
    """Say for the page how the stems were made."""
    details = {"Model": loaded.model.name, "Targets": ", ".join(loaded.model.targets)}
    if loaded.model.licence:
        details["Licence of the weights"] = loaded.model.licence
    if loaded.model.note:
        details["Note"] = loaded.model.note
    return details


def _sync(folder: Path) -> None:
    """Bring all files of a folder to the disk, so that not even a power cut leaves halves."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


@contextmanager
def _messages(request: dict[str, Any]) -> Iterator[None]:
    """Name files in messages as their owners do, and say it plainly when the disk is full."""
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
    """Whether an error, or one that led to it, says that there is no space left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
