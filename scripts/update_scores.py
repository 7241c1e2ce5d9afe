"""Evaluate the bundled model, and update the tables of scores in docs/models.md.

::

    python scripts/update_scores.py FOLDER

The folder contains a folder of stems per track, see ``recipes/umxs``. Without it nothing changes.
"""

from __future__ import annotations

import argparse
import datetime
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

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
from openunmix.pretrained.registry import BUNDLED_MODEL

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "models.md"
MARKED = re.compile(r"(<!-- scores: .*? -->\n).*?(<!-- /scores -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Replace the text between the marks of the page; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path, help="folder of track folders of stems")
    parser.add_argument("--model", default=BUNDLED_MODEL, help="name of a model, or a model folder")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write the tables to")
    args = parser.parse_args(argv)
    if not args.songs.is_dir():
        print(f"{args.songs}: no such folder of songs, so {args.page.name} stays as it is; give")
        print("one with true stems: make scores DATA=FOLDER")
        return 0
    if len(MARKED.findall(args.page.read_text("utf-8"))) != 1:
        sys.exit(f"{args.page} needs one place <!-- scores: ... --> ... <!-- /scores -->")
    model = resolve_model(args.model)
    tables = card(find_tracks(args.songs), System(model, targets=tuple(model.targets)))
    page = args.page.read_text("utf-8")  # it took minutes: someone may have edited it
    args.page.write_text(MARKED.sub(lambda found: found[1] + tables + found[2], page), "utf-8")
    print(tables)
    return 0


def card(tracks: Sequence[Track], system: System) -> str:
    """Evaluate a system and the mixture itself; return the tables in Markdown."""
    scores = measured(tracks, system)
    mixture = measured(tracks, replace(system, model=None, oracle="mixture"))
    versions = f"Open-Unmix {openunmix.__version__} (commit {commit()}), torch {torch.__version__}"
    return (
        f"{system.name}, niter {system.niter}, {len(scores)} songs, {datetime.date.today()}, "
        f"{versions}.\n\n"
        "SDR of BSS Eval v4, median over frames of a second, then over songs, in dB:\n\n"
        f"{framewise(scores, mixture)}\n"
        "Another measure, SDR of whole tracks, in dB:\n\n"
        f"{whole_track(scores, mixture)}"
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


def framewise(scores: Sequence[TrackScores], mixture: Sequence[TrackScores]) -> str:
    """Return the SDR of BSS Eval; its other metrics mean little for stems without treble."""
    medians, floor = median_over_tracks(scores), median_over_tracks(mixture)
    rows = [
        [name, *(shown(values[target]["SDR"]) for target in medians)]
        for name, values in (("median", medians), ("median of the mixture itself", floor))
    ]
    return table(["", *medians], rows)


def whole_track(scores: Sequence[TrackScores], mixture: Sequence[TrackScores]) -> str:
    """Return the table of the SDR of the Music Demixing Challenge, a row per track."""
    measure = "sdr_mdx21"
    medians, floor = median_over_tracks(scores), median_over_tracks(mixture)
    rows = [
        [track.name, *(shown(track.whole_track.get(t, {}).get(measure)) for t in medians)]
        for track in scores
    ]
    rows.append(["**median**", *(shown(medians[t][measure]) for t in medians)])
    rows.append(["median of the mixture itself", *(shown(floor[t][measure]) for t in medians)])
    return table(["song", *medians], rows)


def shown(score: float | None) -> str:
    """Return a score for a table, empty where the stem is silent."""
    return "" if score is None or math.isnan(score) else f"{score:.2f}"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
