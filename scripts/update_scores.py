"""Evaluate the bundled models of music, and update their tables, docs/data/scores-NAME.json.

::

    python scripts/update_scores.py FOLDER

The folder contains a folder of stems per track, see ``recipes/umxs``. Without it nothing changes.
"""

from __future__ import annotations

import argparse
import datetime
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import torch
from tables import Cell, Table, report

import openunmix
from openunmix.evaluate import (
    System,
    Track,
    TrackScores,
    evaluate_tracks,
    find_tracks,
    median_over_tracks,
)
from openunmix.pretrained import resolve_model
from openunmix.pretrained.registry import MODELS

ROOT = Path(__file__).parent.parent
MUSIC = [name for name, entry in MODELS.items() if entry.bundled and "vocals" in entry.targets]


def main(argv: Sequence[str] | None = None) -> int:
    """Write ``docs/data`` and fill the pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path, help="folder of track folders of stems")
    parser.add_argument("--models", nargs="+", default=MUSIC, help="names, or model folders")
    args = parser.parse_args(argv)
    if not args.songs.is_dir():
        print(f"{args.songs}: no such folder of songs, so the tables stay as they are; give")
        print("one with true stems: make scores DATA=FOLDER")
        return 0
    for name in args.models:
        update(name, args.songs)
    return 0


def update(name: str, songs: Path) -> None:
    """Evaluate one model, and write its tables."""
    model = resolve_model(name)
    system = System(model, targets=tuple(model.targets))
    scores = measured(find_tracks(songs), system)
    mixture = floor(songs, system.targets)
    tables = {"frames": framewise(scores, mixture), "tracks": whole_track(scores, mixture)}
    described = caption(system, len(scores))
    report(f"scores-{model.name}", "make scores", described, tables, write=True)


@cache
def floor(songs: Path, targets: tuple[str, ...]) -> list[TrackScores]:
    """Evaluate the mixture itself, which scores the same beside every model of these targets."""
    return measured(find_tracks(songs), System(oracle="mixture", targets=targets))


def caption(system: System, songs: int) -> str:
    """Return what was measured, when, and with which versions."""
    versions = f"Open-Unmix {openunmix.__version__} (commit {commit()}), torch {torch.__version__}"
    return (
        f"{system.name}, niter {system.niter}, {songs} songs, {datetime.date.today()}, {versions}."
    )


def measured(tracks: Sequence[Track], system: System) -> list[TrackScores]:
    """Evaluate a system; exit with a message if a track cannot be evaluated."""

    def progress(name: str, _: TrackScores | str) -> None:
        print(f"{system.name}, {name}", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        result = evaluate_tracks(tracks, system, Path(folder), progress=progress)
    if result.failures:
        sys.exit("\n".join(f"{name}: {reason}" for name, reason in result.failures.items()))
    return result.scores


def commit() -> str:
    """Return the current commit."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def framewise(scores: Sequence[TrackScores], mixture: Sequence[TrackScores]) -> Table:
    """Return the SDR of BSS Eval; its other metrics mean little for stems without treble."""
    medians, floor = median_over_tracks(scores), median_over_tracks(mixture)
    rows = [
        [name, *(cell(values[target]["SDR"]) for target in medians)]
        for name, values in (("median", medians), ("median of the mixture itself", floor))
    ]
    title = "SDR of BSS Eval v4, median over frames of a second, then over songs, in dB:"
    return table("", medians, rows, title)


def whole_track(scores: Sequence[TrackScores], mixture: Sequence[TrackScores]) -> Table:
    """Return the table of the SDR of the Music Demixing Challenge, a row per track."""
    measure = "sdr_mdx21"
    medians, floor = median_over_tracks(scores), median_over_tracks(mixture)
    rows = [
        [track.name, *(cell(track.whole_track.get(t, {}).get(measure)) for t in medians)]
        for track in scores
    ]
    rows.append(["**median**", *(cell(medians[t][measure]) for t in medians)])
    rows.append(["median of the mixture itself", *(cell(floor[t][measure]) for t in medians)])
    return table("song", medians, rows, "Another measure, SDR of whole tracks, in dB:")


def cell(score: float | None) -> float | None:
    """Return a score for a table, None where the stem is silent."""
    return None if score is None or math.isnan(score) else round(score, 4)


def table(first: str, targets: Iterable[str], rows: list[list[Cell]], title: str) -> Table:
    """Return a table with a column for each target."""
    columns = [first, *targets]
    return Table(columns, ["", *["{:.2f}"] * (len(columns) - 1)], rows, title)


if __name__ == "__main__":
    sys.exit(main())
