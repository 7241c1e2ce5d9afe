"""WebDataset shards: tar files of excerpts of the stems, for training."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import gettempdir

from openunmix._files import workspace
from openunmix.audio import AudioWriter, read_audio
from openunmix.catalogue.manifest import Row
from openunmix.catalogue.status import records_of
from openunmix.catalogue.storage import Place
from openunmix.catalogue.worker import Record, row_folder


def write_excerpts(
    rows: Sequence[Row],
    output: str,
    folder: str,
    seconds: float = 10.0,
    per_song: int = 4,
    per_shard: int = 1000,
) -> int:
    """Write evenly spaced excerpts of all stems of the songs that are done; return their number.

    Members of ``excerpts-000000.tar`` and so on are ``<id>-<start in ms>.<stem>.flac`` and
    ``.json``. The same run makes the same files.
    """
    done = (record for record in records_of(rows, output) if record["status"] == "done")
    total = 0
    with workspace(Path(gettempdir())) as work:
        excerpts = (
            excerpt
            for record in done
            for excerpt in _excerpts_of(record, output, seconds, per_song, work)
        )
        for number in range(1_000_000):
            shard = list(islice(excerpts, per_shard))
            if not shard:
                break
            path = work / f"excerpts-{number:06}.tar"
            with tarfile.open(path, "w") as tar:
                for name, content in (member for excerpt in shard for member in excerpt):
                    info = tarfile.TarInfo(name)  # no times and owners: equal bytes
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
            (Place(folder) / path.name).put(path)
            path.unlink()
            total += len(shard)
    return total


def _excerpts_of(
    record: Record, output: str, seconds: float, count: int, work: Path
) -> Iterator[list[tuple[str, bytes]]]:
    """Members of each excerpt of a song, name and content."""
    spare = record["duration"] - seconds
    if spare < 0:
        return
    place = row_folder(output, record["id"])
    count = min(count, max(1, int(record["duration"] // seconds)))
    with ExitStack() as stack:
        stems = {
            Path(name).stem: stack.enter_context((place / name).local_copy(work))
            for name in sorted(record["outputs"])
        }
        for number in range(count):
            start = round(spare * (number + 0.5) / count, 3)
            key = f"{record['id']}-{round(1000 * start):08}"
            members = [
                (f"{key}.{name}.flac", _flac(path, start, seconds, work / "excerpt.flac"))
                for name, path in stems.items()
            ]
            about = {"uri": record["uri"], "start": start, "gain": record["gain"]}
            yield [*members, (f"{key}.json", json.dumps(about).encode())]


def _flac(path: Path, start: float, seconds: float, temporary: Path) -> bytes:
    """Encode an excerpt of a file as FLAC."""
    clip = read_audio(path, start=start, duration=seconds)
    with AudioWriter(temporary, clip.sample_rate, clip.waveform.shape[0]) as writer:
        writer.write(clip.waveform)
    return temporary.read_bytes()
