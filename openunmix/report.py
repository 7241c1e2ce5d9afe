"""One self-contained HTML page about an evaluation: box plots, tables, the worst tracks."""

from __future__ import annotations

import datetime
import html
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from openunmix._evaluation.published import PUBLISHED
from openunmix._evaluation.scores import (
    METHOD,
    METRICS,
    WHOLE_TRACK,
    TrackScores,
    median_over_tracks,
)
from openunmix._files import replacing
from openunmix._version import __version__

__all__ = ["box_plot", "write_report"]

_WORST = 10
_PUBLISHED_TARGETS = ("vocals", "drums", "bass", "other")
_WHOLE_TITLES = {
    "sdr_mdx21": "SDR of the Music Demixing Challenge 2021",
    "si_sdr": "SI-SDR (Le Roux et al. 2019)",
}
_STYLE = """
:root{color-scheme:light dark;--line:#8886;--bar:#4a7fb5}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child,.text{text-align:left}
tr.here{font-weight:bold}
svg{max-width:100%;height:auto}
svg text{fill:currentColor;font:12px system-ui,sans-serif}
audio{height:2rem;vertical-align:middle}
small,caption{opacity:.75}
"""


def write_report(
    path: Path,
    systems: Mapping[str, Sequence[TrackScores]],
    failures: Mapping[str, str] | None = None,
    audio: Path | None = None,
) -> None:
    """Write the report.

    Parameters
    ----------
    path : Path
        The file to write. It needs no other file but those that it links to.
    systems : mapping of str to sequence of TrackScores
        Scores by system; the first is the one that the report is about, the others, such as
        oracles, are beside it.
    failures : mapping of str to str, optional
        What went wrong, by track.
    audio : Path, optional
        Where the estimates of the first system are, ``subset/track/target.wav``, to link to.

    Raises
    ------
    ValueError
        If there is no system.
    """
    if not systems:
        raise ValueError("a report needs at least one system; systems is empty")
    name = next(iter(systems))
    tracks = systems[name]
    parts = [
        f"<h1>{_text(name)}</h1>",
        f"<p>{len(tracks)} tracks, {METHOD}, Open-Unmix {__version__}, "
        f"{datetime.date.today()}.</p>",
        "<h2>Medians</h2>",
        _measured(systems),
        "<h2>Distribution over tracks</h2>",
        "<p>Each box spans the quartiles of the tracks' medians, with the median as a line; "
        "whiskers end at the last track within 1.5 times that span, dots are tracks beyond.</p>",
        *_plots(systems),
        f"<h2>Worst {min(_WORST, len(tracks))} tracks</h2>",
        _worst(tracks, path, audio),
        "<h2>Published systems</h2>",
        _beside_published(systems),
        "<h2>Measures of whole tracks</h2>",
        "<p>Other definitions: these numbers cannot be compared with those above.</p>",
        *(_whole(systems, metric) for metric in WHOLE_TRACK),
        _problems(tracks, failures or {}),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_text(name)}: scores</title><style>{_STYLE}</style></head>\n<body>"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")


def _text(value: object) -> str:
    """Escape what comes from file names and the like."""
    return html.escape(str(value))


def _number(value: float) -> str:
    """Return a number of dB for a table."""
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _table(heading: Sequence[str], rows: Iterable[str], caption: str = "") -> str:
    """Return a table of rows that are HTML already."""
    cells = "".join(f"<th>{_text(cell)}</th>" for cell in heading)
    about = f"<caption>{_text(caption)}</caption>" if caption else ""
    return f"<table>{about}<tr>{cells}</tr>{''.join(rows)}</table>"


def _row(cells: Iterable[str], kind: str = "") -> str:
    """Return a row of cells that are HTML already."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<tr{attribute}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _targets(systems: Mapping[str, Sequence[TrackScores]]) -> list[str]:
    """Return all targets, in order of appearance."""
    tracks = [track for scores in systems.values() for track in scores]
    return list(dict.fromkeys(target for track in tracks for target in track.frames))


def _measured(systems: Mapping[str, Sequence[TrackScores]]) -> str:
    """Return the medians of each system, target and measure, measured here."""
    rows = [
        _row([_text(system), _text(target), *(_number(values[metric]) for metric in METRICS)])
        for system, tracks in systems.items()
        for target, values in median_over_tracks(tracks).items()
    ]
    caption = "dB; median over frames of a second, then over tracks; measured here"
    return _table(["system", "target", *METRICS], rows, caption)


def _beside_published(systems: Mapping[str, Sequence[TrackScores]]) -> str:
    """Return the SDR of systems measured here and of published ones, marked as such."""
    rows = []
    for system, tracks in systems.items():
        medians = median_over_tracks(tracks)
        values = [medians.get(target, {}).get("SDR", math.nan) for target in _PUBLISHED_TARGETS]
        rows.append(_row([_text(system), *map(_number, values), "<b>measured here</b>"], "here"))
    for entry in PUBLISHED:
        remark = f"published: {entry.source}" + (f"; {entry.remark}" if entry.remark else "")
        values = [getattr(entry, target) for target in _PUBLISHED_TARGETS]
        rows.append(_row([_text(entry.name), *map(_number, values), _text(remark)]))
    return (
        "<p>Published SDR on the 50 test tracks of MUSDB18 (HQ: MUSDB18-HQ), as their authors "
        "gave it; not measured here. Only scores on the same tracks can be compared.</p>"
        + _table(["system", *_PUBLISHED_TARGETS, "where from"], rows)
    )


def _whole(systems: Mapping[str, Sequence[TrackScores]], metric: str) -> str:
    """Return the medians over tracks of one measure of whole tracks."""
    targets = _targets(systems)
    rows = []
    for system, tracks in systems.items():
        medians = median_over_tracks(tracks)
        values = [medians.get(target, {}).get(metric, math.nan) for target in targets]
        rows.append(_row([_text(system), *map(_number, values)]))
    return _table(["system", *targets], rows, f"{_WHOLE_TITLES[metric]}, dB, median over tracks")


def _worst(tracks: Sequence[TrackScores], path: Path, audio: Path | None) -> str:
    """Return the tracks with the lowest SDR, the mean over targets, with links to listen."""

    def mean(track: TrackScores) -> float:
        values = [track.median(target, "SDR") for target in track.frames]
        finite = [value for value in values if math.isfinite(value)]
        return statistics.fmean(finite) if finite else math.inf

    targets = _targets({"": tracks})
    rows = []
    for track in sorted(tracks, key=mean)[:_WORST]:
        cells = [_text(track.name), _number(mean(track))]
        for target in targets:
            player = _player(track, target, path, audio)
            cells.append(f"{_number(track.median(target, 'SDR'))} {player}".strip())
        rows.append(_row(cells))
    return _table(["track", "mean", *targets], rows, "SDR in dB, median over frames")


def _player(track: TrackScores, target: str, path: Path, audio: Path | None) -> str:
    """Return what plays an estimate, nothing if there is no file."""
    file = None if audio is None else audio / track.subset / track.name / f"{target}.wav"
    if file is None or not file.exists():
        return ""
    link = quote(Path(os.path.relpath(file, path.parent)).as_posix())
    return f'<br><audio controls preload="none" src="{_text(link)}"></audio>'


def _problems(tracks: Sequence[TrackScores], failures: Mapping[str, str]) -> str:
    """Return what failed or was left out."""
    lines = [f"<b>{_text(name)}</b>: {_text(reason)}" for name, reason in failures.items()]
    lines += [f"{_text(track.name)}: {_text(note)}" for track in tracks for note in track.notes]
    if not lines:
        return ""
    return "<h2>Not scored</h2><ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _plots(systems: Mapping[str, Sequence[TrackScores]]) -> list[str]:
    """Return a box plot for each measure, with a row for each target and system."""
    plots = []
    for metric in METRICS:
        rows = {
            f"{target}, {system}" if len(systems) > 1 else target: [
                track.median(target, metric) for track in tracks
            ]
            for target in _targets(systems)
            for system, tracks in systems.items()
        }
        plots.append(box_plot(f"{metric} in dB", rows))
    return plots


def box_plot(title: str, rows: Mapping[str, Sequence[float]]) -> str:
    """Draw horizontal box plots on a common scale.

    Parameters
    ----------
    title : str
        What the values are.
    rows : mapping of str to sequence of float
        Values by label; those that are not finite are left out.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    finite = {
        label: sorted(value for value in values if math.isfinite(value))
        for label, values in rows.items()
    }
    everything = [value for values in finite.values() for value in values] or [0.0]
    low, high = math.floor(min(everything)) - 1, math.ceil(max(everything)) + 1
    left, width, height = 170, 560, 24 * len(finite) + 56

    def x(value: float) -> float:
        return round(left + width * (value - low) / (high - low), 1)

    step = next(step for step in (1, 2, 5, 10, 20, 50, 10**9) if (high - low) / step <= 12)
    parts = [f'<text x="{left}" y="16" font-weight="bold">{_text(title)}</text>']
    for tick in range(-(-low // step) * step, high + 1, step):
        parts.append(
            f'<path d="M{x(tick)} 26V{height - 24}" stroke="var(--line)"/>'
            f'<text x="{x(tick)}" y="{height - 8}" text-anchor="middle">{tick}</text>'
        )
    for number, (label, values) in enumerate(finite.items()):
        y = 40 + 24 * number
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{_text(label)}</text>')
        if values:
            parts.append(_box([x(value) for value in values], y))
    return (
        f'<svg viewBox="0 0 {left + width + 20} {height}" role="img" '
        f'aria-label="{_text(title)}">' + "".join(parts) + "</svg>"
    )


def _box(positions: list[float], y: int) -> str:
    """Return one box with its whiskers and outliers; the positions are sorted."""
    quartiles = [positions[0]] * 3
    if len(positions) > 1:
        quartiles = statistics.quantiles(positions, n=4, method="inclusive")
    first, middle, third = (round(quartile, 1) for quartile in quartiles)
    reach = 1.5 * (third - first)
    inside = [p for p in positions if first - reach <= p <= third + reach] or [middle]
    dots = "".join(
        f'<circle cx="{p}" cy="{y}" r="2" fill="currentColor"/>'
        for p in positions
        if not inside[0] <= p <= inside[-1]
    )
    return (
        f'<path d="M{inside[0]} {y}H{first}M{third} {y}H{inside[-1]}" stroke="currentColor"/>'
        f'<rect x="{first}" y="{y - 7}" width="{round(third - first, 1)}" height="14" '
        'fill="var(--bar)" fill-opacity=".5" stroke="currentColor"/>'
        f'<path d="M{middle} {y - 7}v14" stroke="currentColor" stroke-width="2.5"/>{dots}'
    )
