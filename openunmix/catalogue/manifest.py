"""Manifests: a Parquet table of the files of a catalogue, and why some cannot be used."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from openunmix._files import sha256_of, workspace
from openunmix.audio import AUDIO_EXTENSIONS, probe
from openunmix.catalogue.storage import PART, Place, catalogue_extra
from openunmix.errors import AudioFileError, OpenUnmixError, StorageError

#: Columns and their types, in order; `error` says why a row cannot be used, or is null.
COLUMNS = {
    "id": "string",
    "uri": "string",
    "bytes": "int64",
    "seconds": "float64",
    "error": "string",
}

# Bytes at the begin and at the end of a remote file that are fetched to probe it.
_PROBED = 1 << 19

# What tells two versions of a remote file apart, by what storages call it.
_VERSION = ("ETag", "etag", "md5Hash", "Content-MD5", "Last-Modified", "LastModified", "size")

#: A row of a manifest.
Row = Mapping[str, Any]


def plan(
    source: str | os.PathLike[str],
    jobs: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of all audio below a folder or URL, or in a text file of URLs, one a line.

    Files on disks of this machine are identified by their content, others by URL and etag.

    Parameters
    ----------
    source : str or path
        Folder, URL, or text file.
    jobs : int > 0
        Files that are probed at a time.
    progress : callable, optional
        Called with the number of files that are probed, and of all.

    Returns
    -------
    list of dict
        Rows with the keys ``id``, ``uri``, ``bytes``, ``seconds``, ``error``.
    """
    uris = _listed(source) if Path(os.fspath(source)).suffix == ".txt" else _found(Place(source))
    rows: list[dict[str, Any]] = []
    with workspace(Path(gettempdir())) as work, ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(lambda item: _row(item[1], work / str(item[0])), enumerate(uris)):
            rows.append(row)
            if progress:
                progress(len(rows), len(uris))
    _refuse_repeated(rows)
    return rows


def _listed(source: str | os.PathLike[str]) -> list[str]:
    """URLs in a text file; empty lines and those that begin with # are none."""
    content = Place(source).read()
    if content is None:
        raise StorageError(f"{os.fspath(source)!r} does not exist")
    lines = (line.strip() for line in content.decode("utf-8", "surrogateescape").splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _found(place: Place) -> list[str]:
    """Audio below a folder, without hidden files and the outputs of earlier runs."""
    paths = place.find()
    if not paths:
        raise StorageError(f"{place.url!r} does not exist, or holds no files")
    done = {path.rpartition("/")[0] for path in paths if path.endswith("/done.json")}
    root = place.path.rstrip("/") + "/"
    audio = (
        path
        for path in sorted(paths)
        if Path(path).suffix.lower() in AUDIO_EXTENSIONS
        and path.rpartition("/")[0] not in done
        and PART not in path
        and not any(part.startswith(".") for part in path.removeprefix(root).split("/"))
    )
    return [place.url_of(path) for path in audio]


def _row(uri: str, work: Path) -> dict[str, Any]:
    """Row of a file; a failure is its `error`."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"id": _digest(uri), "uri": uri}
    place = Place(uri)
    try:
        info = place.info()
        row["bytes"] = info.get("size")
        if place.is_local:
            row["id"] = sha256_of(Path(place.path))[:32]
        else:
            row["id"] = _digest(uri, *(str(info[key]) for key in _VERSION if info.get(key)))
        row["seconds"] = _seconds(place, work, row["bytes"])
    except FileNotFoundError:
        row["error"] = f"{uri!r} does not exist"
    except (OpenUnmixError, OSError) as error:
        row["error"] = str(error)
    return row


def _digest(*words: str) -> str:
    """Make an identifier of words."""
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _seconds(place: Place, work: Path, size: int | None) -> float | None:
    """Duration; None if the header does not state it. AudioFileError if it is no audio."""
    if place.is_local:
        return _duration(Path(place.path))
    work.mkdir()
    if size and size > 2 * _PROBED:
        # Headers are at the begin, or at the end: the hole between them takes no time and space.
        sparse = work / Path(place.path).name[-100:]
        with place.errors("read"), sparse.open("wb") as file:
            file.write(place.fs.cat_file(place.path, start=0, end=_PROBED))
            file.seek(size - _PROBED)
            file.write(place.fs.cat_file(place.path, start=size - _PROBED, end=size))
        try:
            return _duration(sparse)
        except AudioFileError:
            pass  # perhaps because of the hole
        finally:
            sparse.unlink()
    with place.local_copy(work) as path:
        try:
            return _duration(path)
        except AudioFileError as error:
            raise AudioFileError(str(error).replace(str(path), place.url)) from error


def _duration(path: Path) -> float | None:
    """Duration that a local file states, to milliseconds."""
    duration = probe(path).duration
    return None if duration is None else round(duration, 3)


def _refuse_repeated(rows: Iterable[dict[str, Any]]) -> None:
    """Mark rows of the same content as an earlier one, which would be separated twice."""
    first: dict[str, str] = {}
    for row in rows:
        if row["error"] is None and first.setdefault(row["id"], row["uri"]) != row["uri"]:
            row["error"] = f"the same content as {first[row['id']]!r}"


def _pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and its Parquet module."""
    with catalogue_extra():
        import pyarrow
        from pyarrow import parquet
    return pyarrow, parquet


def write_table(url: str | os.PathLike[str], rows: Sequence[Row], kinds: Mapping[str, str]) -> None:
    """Write rows as Parquet, with the columns and types that are given, atomically."""
    pyarrow, parquet = _pyarrow()
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()])
    columns = {name: [row.get(name) for row in rows] for name in kinds}
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns, schema=schema), buffer)
    Place(url).write(buffer.getvalue())


def write_manifest(url: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Write a manifest."""
    write_table(url, rows, COLUMNS)


def read_manifest(url: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a manifest.

    Parameters
    ----------
    url : str or path
        A Parquet file of :func:`plan`'s rows.

    Returns
    -------
    list of dict
        The rows.

    Raises
    ------
    StorageError
        If it is no manifest.
    """
    pyarrow, parquet = _pyarrow()
    content = Place(url).read()
    if content is None:
        raise StorageError(f"{os.fspath(url)!r} does not exist; make it with umx-catalogue plan")
    try:
        table = parquet.read_table(io.BytesIO(content), columns=list(COLUMNS))
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        raise StorageError(f"{os.fspath(url)!r} is no manifest: {error}") from error
    for row in rows:
        if not (isinstance(row["uri"], str) and re.fullmatch("[0-9a-f]{32}", str(row["id"]))):
            raise StorageError(f"{os.fspath(url)!r} is no manifest: {row['id']!r} is no id")
    return rows


def usable(rows: Iterable[Row], shard: tuple[int, int] = (0, 1)) -> list[Row]:
    """Rows that can be separated, of the i-th of n shards; every n-th, so that all take as long."""
    index, count = shard
    return [row for row in rows if row["error"] is None][index::count]
