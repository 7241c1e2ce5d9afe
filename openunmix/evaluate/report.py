"""The report of an evaluation as one HTML page: medians, box plots, the worst tracks."""

from __future__ import annotations

import datetime
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from openunmix._files import replacing
from openunmix._pages import render
from openunmix.evaluate.box_plot import box_plot
from openunmix.evaluate.published import PUBLISHED
from openunmix.evaluate.scores import METHOD, METRICS, TrackScores, median_over_tracks
from openunmix.evaluate.system import TARGETS
from openunmix.evaluate.tracks import estimate_files

_WORST = 10
_WHOLE_TRACK = {
    "sdr_mdx21": "SDR of the Music Demixing Challenge 2021, dB, median over tracks",
    "si_sdr": "SI-SDR (Le Roux et al. 2019), dB, median over tracks",
}


def write_report(
    path: Path,
    systems: Mapping[str, Sequence[TrackScores]],
    failures: Mapping[str, str] | None = None,
    audio: Mapping[str, Path] | None = None,
    players: Mapping[str, Path] | None = None,
) -> None:
    """Write the report on the first of ``systems``; the others, such as oracles, are beside it.

    By track, ``failures`` has the reason, ``audio`` the folder of the first system's estimates and
    ``players`` a page that plays them; the report links to both, and to the tables beside it.
    """
    if not systems:
        raise ValueError("a report needs at least one system; systems is empty")
    name, tracks = next(iter(systems.items()))
    medians = {system: median_over_tracks(scores) for system, scores in systems.items()}
    targets = list(dict.fromkeys(target for values in medians.values() for target in values))
    page = render(
        "evaluation.html",
        name=name,
        tracks=len(tracks),
        method=METHOD,
        today=datetime.date.today(),
        metrics=list(METRICS),
        targets=targets,
        decibels=_decibels,
        medians=medians,
        plots=[_plot(metric, systems, targets) for metric in METRICS],
        worst=[_card(track, path, audio or {}, players or {}) for track in worst_tracks(tracks)],
        published=PUBLISHED,
        published_targets=list(TARGETS),
        whole_track=_WHOLE_TRACK,
        failures=failures or {},
        notes=[(track.name, note) for track in tracks for note in track.notes],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")


def worst_tracks(tracks: Sequence[TrackScores]) -> list[TrackScores]:
    """Up to ten tracks with the lowest SDR, the mean over targets, lowest first."""
    return sorted(tracks, key=_mean_sdr)[:_WORST]


def _mean_sdr(track: TrackScores) -> float:
    """Mean SDR over targets without NaN; inf if there is none, which sorts the track last."""
    values = [track.median(target, "SDR") for target in track.frames]
    defined = [value for value in values if not math.isnan(value)]
    return statistics.fmean(defined) if defined else math.inf


def _decibels(value: float | None) -> str:
    """Format a number of a table; above 100 dB there are only rounding errors, or none (inf)."""
    if value is None or math.isnan(value):
        return "-"
    return "> 100" if 100 < value < math.inf else f"{value:.2f}"


def _plot(metric: str, systems: Mapping[str, Sequence[TrackScores]], targets: Sequence[str]) -> str:
    """Box plot of one metric, grouped by target."""

    def values(target: str) -> dict[str, list[float]]:
        return {
            name: [t.median(target, metric) for t in tracks] for name, tracks in systems.items()
        }

    return box_plot(f"{metric} in dB", {target: values(target) for target in targets})


def _card(
    track: TrackScores, path: Path, audio: Mapping[str, Path], players: Mapping[str, Path]
) -> dict[str, Any]:
    """Name, scores and links of one track."""

    def link(file: Path | None) -> str:
        return quote(Path(os.path.relpath(file, path.parent)).as_posix()) if file else ""

    folder = audio.get(track.name)
    files = estimate_files(folder, track.frames) if folder is not None and folder.is_dir() else {}
    return {
        "name": track.name,
        "mean": _mean_sdr(track),
        "player": link(players.get(track.name)),
        "targets": [(t, track.median(t, "SDR"), link(files.get(t))) for t in track.frames],
    }
