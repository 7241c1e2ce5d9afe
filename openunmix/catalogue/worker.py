"""Separation of a row of a manifest: the one function that all executors call."""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack, suppress
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np

from openunmix._files import sha256_of, workspace
from openunmix._version import __version__
from openunmix.audio import AudioReader, AudioSource
from openunmix.catalogue.manifest import Row
from openunmix.catalogue.settings import Settings, load
from openunmix.catalogue.storage import Place
from openunmix.errors import OpenUnmixError
from openunmix.model import Separator
from openunmix.predict.file_stream import open_stream
from openunmix.predict.files import FileResult, separate_file

MARK_NAME, FAILURE_NAME = "done.json", "failed.json"

Record = dict[str, Any]


def row_folder(output: str, identifier: str) -> Place:
    """Folder of the outputs of a row."""
    return Place(output) / identifier[:2] / identifier


def separate_row(row: Row, settings: Settings) -> Record:
    """Separate a row of a manifest; return its record. What fails is a record, too.

    A row that has a mark of these settings is skipped. The model is loaded once a process.

    Parameters
    ----------
    row : mapping
        ``id`` and ``uri`` of a row of a manifest.
    settings : Settings
        Settings of the run, from :func:`openunmix.catalogue.prepare`.

    Returns
    -------
    dict
        ``id``, ``uri`` and ``status``: ``"done"``, ``"skipped"`` or ``"failed"``. Of a failed row
        ``error`` is the reason, of others the record is the content of the mark.
    """
    folder = row_folder(settings.output, row["id"])
    try:
        mark = read_mark(folder, settings.hash)
        if mark is not None:
            return {**mark, "status": "skipped"}
        mark = _separate(row, settings, folder)
        with suppress(OpenUnmixError):  # the mark decides
            (folder / FAILURE_NAME).remove()
        return {**mark, "status": "done"}
    except Exception as error:  # a row never ends a run, whatever its storage or decoder raises
        return failed(row, settings, _message(row["uri"], error))


def read_mark(folder: Place, settings: str) -> Record | None:
    """Mark of a row that was made with settings of this hash; None if there is none."""
    return parse_mark((folder / MARK_NAME).read(), settings)


def parse_mark(content: bytes | None, settings: str) -> Record | None:
    """Mark of these settings, in the content of a file; None if it is another or damaged."""
    with suppress(ValueError):
        mark = json.loads(content or b"null")
        if isinstance(mark, dict) and mark.get("settings") == settings:
            return mark
    return None


def failed(row: Row, settings: Settings, reason: str) -> Record:
    """Record of a row that failed, which is kept where the outputs would be, if that is possible.

    If another process has completed the row meanwhile, that counts.
    """
    folder = row_folder(settings.output, row["id"])
    record = {"id": row["id"], "uri": row["uri"], "status": "failed", "error": reason}
    with suppress(OpenUnmixError, OSError):
        mark = read_mark(folder, settings.hash)
        if mark is not None:
            return {**mark, "status": "skipped"}
        (folder / FAILURE_NAME).write(json.dumps(record, indent=1).encode())
    return record


def _message(uri: str, error: Exception) -> str:
    """Return a line that names the file."""
    if isinstance(error, FileNotFoundError) and not isinstance(error, OpenUnmixError):
        return f"{uri!r} does not exist any more; plan again"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, OpenUnmixError) else f"{uri!r} failed: {text}"


@lru_cache(maxsize=1)
def _separator(settings: Settings) -> Separator:
    """Return the separator of this process."""
    return load(settings)


def _separate(row: Row, settings: Settings, folder: Place) -> Record:
    """Separate a row and write its stems, then its mark; return the mark."""
    separator = _separator(settings)
    (folder / MARK_NAME).remove()  # damaged, or of other settings
    begun = time.perf_counter()
    with (
        workspace(Path(gettempdir())) as work,
        Place(row["uri"]).local_copy(work) as path,
    ):
        try:
            options, config = settings.file_options, settings.stream_config
            result = separate_file(path, work / "stems", separator, options, config)
        except OpenUnmixError as error:
            raise type(error)(str(error).replace(str(path), row["uri"])) from error
        outputs = {
            file.name: {"sha256": sha256_of(file), "bytes": file.stat().st_size}
            for file in result.outputs.values()
        }
        level = null_level(path, separator, result)
        for file in result.outputs.values():
            (folder / file.name).put(file)
    mark = {
        "id": row["id"],
        "uri": row["uri"],
        "settings": settings.hash,
        "model": settings.model,
        "weights": dict(settings.weights),
        "version": __version__,
        "duration": round(result.duration, 3),
        "sample_rate": result.sample_rate,
        "channels": result.channels,
        "seconds": round(time.perf_counter() - begun, 3),
        "peak": result.peak,
        "gain": result.gain,
        "null_db": level,
        "outputs": outputs,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    (folder / MARK_NAME).write(json.dumps(mark, indent=1).encode())
    return mark


def null_level(path: Path, separator: Separator, result: FileResult) -> float | None:
    """Level of the mixture minus all stems as written, in dB relative to the mixture.

    None where they cannot be compared: another sample rate, or silence.
    """
    with open_stream(AudioSource(path), separator.nb_channels) as mixture, ExitStack() as stack:
        if mixture.sample_rate != result.sample_rate:
            return None
        stems = [stack.enter_context(AudioReader(file)) for file in result.outputs.values()]
        error = power = 0.0
        for blocks in zip(mixture, *stems, strict=False):
            length = min(block.shape[-1] for block in blocks)
            original = blocks[0][:, :length].astype(np.float64) * result.gain
            total = sum(block[:, :length].astype(np.float64) for block in blocks[1:])
            error += float(np.square(original - total).sum())
            power += float(np.square(original).sum())
    if power == 0:
        return None
    return round(10 * math.log10(max(error / power, 1e-20)), 1)
