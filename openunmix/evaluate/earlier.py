"""Scores of an earlier run: kept where inputs and settings are exactly the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from openunmix._files import sha256_of
from openunmix.data.tracks import MIXTURE, Track
from openunmix.errors import AudioFileError
from openunmix.evaluate.scores import TrackScores
from openunmix.evaluate.system import System
from openunmix.evaluate.tracks import find_estimates


class EarlierScores(NamedTuple):
    """Scores of an earlier run that still hold, and why the others do not, by track."""

    kept: dict[str, TrackScores]
    outdated: dict[str, str]


def earlier_scores(
    tracks: Sequence[Track], system: System, eval_dir: Path, output_dir: Path | None = None
) -> EarlierScores:
    """Read the scores in ``eval_dir``, and compare settings and the content of all files."""
    earlier = EarlierScores({}, {})
    for track in tracks:
        file = score_file(eval_dir, track)
        if not file.exists():
            continue
        try:
            scores = TrackScores.load(file)
            changes = _changes(scores, track, system, output_dir)
        except (AudioFileError, OSError, ValueError) as error:
            earlier.outdated[track.name] = str(error)
        else:
            if changes:
                reason = f"{file} was made with others of: {', '.join(changes)}"
                earlier.outdated[track.name] = reason
            else:
                earlier.kept[track.name] = scores
    return earlier


def score_file(eval_dir: Path, track: Track) -> Path:
    """File of a track's scores."""
    return eval_dir / track.subset / f"{track.name}.json"


def input_hashes(track: Track, system: System) -> dict[str, dict[str, str]]:
    """SHA-256 of the files that scores depend on: the ``track`` and given ``estimates``, by name.

    Reading files takes a second where scoring takes 25; times and sizes survive some copies.
    """
    sources = dict(track.sources) | ({MIXTURE: track.mixture} if track.mixture else {})
    of_file = {path: sha256_of(path) for path in {source.path for source in sources.values()}}
    hashes = {
        name: " ".join(map(str, [of_file[path], *(part for part in excerpt if part)]))
        for name, (path, *excerpt) in sources.items()
    }
    if system.estimates is None:
        return {"track": hashes}
    given = system.estimate_files(find_estimates(system.estimates, track))
    return {"track": hashes, "estimates": file_hashes(given)}


def file_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of files by name."""
    return {name: sha256_of(path) for name, path in files.items()}


def _changes(
    scores: TrackScores, track: Track, system: System, output_dir: Path | None
) -> list[str]:
    """Name what differs from the run that made the scores; files it wrote only if wanted."""
    old, new = scores.settings, system.settings
    # The name of a folder changes no score; that of an oracle is a setting of its own.
    keys = dict.fromkeys(key for key in (*new, *old) if key != "system")
    changes = [key for key in keys if old.get(key) != new.get(key)]
    now = input_hashes(track, system)
    if output_dir is not None:
        folder = output_dir / track.subset / track.name
        now["outputs"] = file_hashes(
            {name: file for name in system.aggregation if (file := folder / f"{name}.wav").exists()}
        )
    for group, hashes in now.items():
        before = scores.files.get(group, {})
        names = dict.fromkeys([*hashes, *before])
        changes += [f"{group}/{name}" for name in names if hashes.get(name) != before.get(name)]
    if "outputs" in now and not now["outputs"]:
        changes.append("outputs")
    return changes
