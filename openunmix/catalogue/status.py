"""State of a run, from what is in its folder: progress, the table of results, damage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from openunmix.catalogue.manifest import Row, usable, write_table
from openunmix.catalogue.settings import output_hash
from openunmix.catalogue.storage import PART, Info, Place
from openunmix.catalogue.worker import (
    FAILURE_NAME,
    MARK_NAME,
    Record,
    parse_mark,
    row_folder,
)
from openunmix.errors import OpenUnmixError

# Seconds over which the speed is computed.
_RECENT = 3600.0


@dataclass
class Status:
    """Songs and hours of audio of a run."""

    songs: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # reasons by URI
    unusable: int = 0
    hours: float = 0.0  # of audio that can be used
    hours_done: float = 0.0
    hours_per_hour: float | None = None  # of audio done in an hour, lately; None if unknown

    @property
    def left(self) -> int:
        """Songs that a run would try."""
        return self.songs - self.unusable - self.done

    @property
    def hours_left(self) -> float | None:
        """Time until all is done."""
        if self.hours_per_hour is None:
            return None
        return max(self.hours - self.hours_done, 0) / self.hours_per_hour


def status_of(rows: Sequence[Row], output: str) -> Status:
    """State of a run, from the names in its folder."""
    files = {_last_three(path): info for path, info in _files(output).items()}
    good = usable(rows)
    status = Status(songs=len(rows), unusable=len(rows) - len(good))
    finished: list[tuple[float, float]] = []  # time and hours of audio
    failures = []
    for row in good:
        hours = (row["seconds"] or 0) / 3600
        status.hours += hours
        mark = files.get(f"{row['id'][:2]}/{row['id']}/{MARK_NAME}")
        if mark is not None:
            status.done += 1
            status.hours_done += hours
            finished.append((_modified(mark), hours))
        elif f"{row['id'][:2]}/{row['id']}/{FAILURE_NAME}" in files:
            failures.append(row)
    names = [(row_folder(output, row["id"]) / FAILURE_NAME).path for row in failures]
    for row, content in zip(failures, Place(output).read_all(names), strict=True):
        status.failed[row["uri"]] = _reason(content)
    status.hours_per_hour = _speed(finished)
    return status


def _files(output: str) -> dict[str, Info]:
    """Files of a run, which has settings."""
    output_hash(output)
    return Place(output).find()


def _last_three(path: str) -> str:
    """Return the last three parts of a path."""
    return "/".join(path.split("/")[-3:])


def _modified(info: Info) -> float:
    """Time of a file in seconds; 0 if the storage does not know it."""
    for name in ("mtime", "LastModified", "mtime_ns", "updated", "last_modified"):
        value = info.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.timestamp()
    return 0.0


def _speed(finished: Sequence[tuple[float, float]]) -> float | None:
    """Hours of audio done in an hour, by the songs that were done last."""
    last = max((time for time, _ in finished), default=0.0)
    recent = sorted((time, hours) for time, hours in finished if time > last - _RECENT)
    if len(recent) < 2 or recent[0][0] == last:
        return None
    # The first of them was done at the begin of the span.
    return sum(hours for _, hours in recent[1:]) / ((last - recent[0][0]) / 3600) or None


def _reason(content: bytes | None) -> str:
    """Return the reason in the record of a failure."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(content or b"")["error"])
    return "unknown"


def records_of(rows: Sequence[Row], output: str) -> Iterator[Record]:
    """Record of every row: done, with what its mark says; failed, waiting or unusable."""
    key = output_hash(output)
    good = usable(rows)
    places = [row_folder(output, row["id"]) for row in good]
    marks = Place(output).read_all([(place / MARK_NAME).path for place in places])
    failures = status_of(rows, output).failed
    found = {row["id"]: parse_mark(mark, key) for row, mark in zip(good, marks, strict=True)}
    for row in rows:
        mark = found.get(row["id"]) if row["error"] is None else None
        if row["error"] is not None:
            yield {**row, "status": "unusable"}
        elif mark is not None:
            yield {**mark, "status": "done", "uri": row["uri"]}
        elif row["uri"] in failures:
            yield {**row, "status": "failed", "error": failures[row["uri"]]}
        else:
            yield {**row, "status": "waiting"}


#: Columns of the table of results.
_RESULTS = {
    **dict.fromkeys(("id", "uri", "status", "error"), "string"),
    **dict.fromkeys(("duration", "seconds", "peak", "gain", "null_db"), "float64"),
    **dict.fromkeys(("sample_rate", "channels"), "int64"),
    **dict.fromkeys(("model", "settings", "version", "finished", "outputs"), "string"),
}


def write_results(url: str | os.PathLike[str], rows: Sequence[Row], output: str) -> None:
    """Write the results of a run as a Parquet table, a row for each of the manifest."""
    table = []
    for record in records_of(rows, output):
        entry = dict(record)
        if entry["status"] == "done":
            entry["outputs"] = json.dumps(entry["outputs"], sort_keys=True)
        else:
            entry |= {"duration": entry.pop("seconds", None)}
        table.append(entry)
    write_table(url, table, _RESULTS)


def verify(
    rows: Sequence[Row],
    output: str,
    quick: bool = False,
    repair: bool = False,
) -> Iterator[str]:
    """Compare every output with its mark; yield a line for each song that is missing or damaged.

    ``quick`` compares sizes, not hashes. ``repair`` removes the marks of damaged songs, so that the
    next run separates them again, and temporary files of processes that were killed.
    """
    files = _files(output)
    for record in records_of(rows, output):
        if record["status"] == "done":
            folder = row_folder(output, record["id"])
            damage = _damage(folder, record, files, quick)
            if damage:
                yield f"{record['uri']!r}: {damage}"
                if repair:
                    (folder / MARK_NAME).remove()
        elif record["status"] != "unusable":
            yield f"{record['uri']!r}: {record.get('error') or 'not separated yet'}"
    if repair:
        place = Place(output)
        for path in files:
            if path.rpartition("/")[2].startswith(PART):
                with suppress(OpenUnmixError):
                    Place(place.url_of(path)).remove()


def _damage(folder: Place, mark: Record, files: Mapping[str, Info], quick: bool) -> str | None:
    """Return what is wrong with the outputs of a song; None if nothing is."""
    for name, expected in sorted(mark["outputs"].items()):
        place = folder / name
        info = files.get(place.path)
        if info is None:
            return f"{place.url} is missing"
        if info.get("size") != expected["bytes"]:
            return f"{place.url} has {info.get('size')} bytes instead of {expected['bytes']}"
        if not quick and place.sha256() != expected["sha256"]:
            return f"{place.url} is damaged: it has another SHA-256"
    return None
