"""One self-contained HTML page about an evaluation: box plots, tables, the worst tracks."""

from __future__ import annotations

import datetime
import html
import math
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from openunmix._files import replacing
from openunmix._version import __version__
from openunmix.evaluate.published import PUBLISHED
from openunmix.evaluate.scores import (
    METHOD,
    METRICS,
    WHOLE_TRACK,
    TrackScores,
    median_over_tracks,
)
from openunmix.evaluate.tracks import audio_files

__all__ = ["COLOURS", "box_plot", "worst_tracks", "write_report"]

#: Rows of a group take turns in the colours ``var(--c0)``, ``var(--c1)`` and so on of the page.
COLOURS = 6

_LEFT, _WIDTH, _MARGIN = 104, 360, 16
_ROW, _HEADING = 20, 22
# What is beyond is drawn at the edge: the mixture has a SAR of 200 dB, which is rounding errors.
_LIMITS = (-40, 60)


def box_plot(title: str, groups: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Draw horizontal box plots on a common scale.

    Parameters
    ----------
    title : str
        What the values are.
    groups : mapping of str to mapping of str to sequence of float
        Values by group and label. Those that are not finite are left out, those beyond -40 and 60
        are drawn at the edge.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    finite = {
        (group, label): sorted(filter(math.isfinite, values))
        for group, rows in groups.items()
        for label, values in rows.items()
    }
    everything = [_clamped(value) for values in finite.values() for value in values] or [0.0]
    low, high = math.floor(min(everything)) - 1, math.ceil(max(everything)) + 1

    def x(value: float) -> float:
        return round(_LEFT + _WIDTH * (_clamped(value) - low) / (high - low), 1)

    parts, y = [], 36
    for group, rows in groups.items():
        if len(rows) > 1:
            parts.append(f'<text x="0" y="{y + 8}" font-weight="bold">{_label(group)}</text>')
            y += _HEADING
        for number, label in enumerate(rows):
            name = label if len(rows) > 1 else group
            parts.append(
                f'<text x="{_LEFT - 8}" y="{y + 8}" text-anchor="end">{_label(name)}</text>'
            )
            if finite[group, label]:
                parts.append(_box(finite[group, label], x, y + 4, number % COLOURS))
            y += _ROW
    height = y + 28
    return (
        f'<svg viewBox="0 0 {_LEFT + _WIDTH + _MARGIN} {height}" role="img" '
        f'aria-label="{_label(title)}"><text x="0" y="14" font-weight="bold">{_label(title)}</text>'
        + "".join(_grid(x, low, high, height))
        + "".join(parts)
        + "</svg>"
    )


def _clamped(value: float) -> float:
    """Return a value that can be drawn."""
    return max(_LIMITS[0], min(value, _LIMITS[1]))


def _label(value: str) -> str:
    """Escape a label and cut it to the room that it has."""
    return html.escape(value if len(value) <= 16 else f"{value[:15]}…")


def _grid(x: Callable[[float], float], low: int, high: int, height: int) -> list[str]:
    """Return the lines of the scale, with their numbers."""
    step = next(step for step in (1, 2, 5, 10, 20) if (high - low) / step <= 10)
    return [
        f'<path d="M{x(tick)} 24V{height - 22}" stroke="var(--line)"/>'
        f'<text x="{x(tick)}" y="{height - 6}" text-anchor="middle">{tick}</text>'
        for tick in range(-(-low // step) * step, high + 1, step)
    ]


def _box(values: list[float], x: Callable[[float], float], y: int, colour: int) -> str:
    """Return one box with its whiskers and outliers; the values are sorted."""
    quartiles = [values[0]] * 3
    if len(values) > 1:
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
    reach = 1.5 * (quartiles[2] - quartiles[0])
    inside = [v for v in values if quartiles[0] - reach <= v <= quartiles[2] + reach]
    first, middle, third = map(x, quartiles)
    # Quartiles of equal values may be a rounding error beside them, and nothing be inside.
    left, right = (x(inside[0]), x(inside[-1])) if inside else (first, third)
    dots = "".join(
        f'<circle cx="{x(v)}" cy="{y}" r="2" fill="var(--c{colour})"/>'
        for v in values
        if v not in inside
    )
    return (
        f'<path d="M{left} {y}H{first}M{third} {y}H{right}" stroke="var(--c{colour})" '
        'stroke-width="1.5"/>'
        f'<rect x="{first}" y="{y - 6}" width="{round(third - first, 1)}" height="12" rx="1" '
        f'fill="var(--c{colour})" fill-opacity=".35" stroke="var(--c{colour})"/>'
        f'<path d="M{middle} {y - 6}v12" stroke="var(--c{colour})" stroke-width="3"/>{dots}'
    )


_WORST = 10
_PUBLISHED_TARGETS = ("vocals", "drums", "bass", "other")
_WHOLE_TITLES = {
    "sdr_mdx21": "SDR of the Music Demixing Challenge 2021",
    "si_sdr": "SI-SDR (Le Roux et al. 2019)",
}
_FILES = {
    "bss_eval.csv": "medians of every track",
    "whole_track.csv": "measures of whole tracks",
}
_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--text:#1b2430;--soft:#596474;--line:#dde2e8;
--card:#f5f7f9;--link:#1f5fa8;--c0:#2469b3;--c1:#c2571a;--c2:#2e8b57;--c3:#8a5fb5;--c4:#b08a00;
--c5:#b8396b}
@media (prefers-color-scheme:dark){:root{--ground:#12161b;--text:#e3e8ee;--soft:#9aa6b5;
--line:#2f3843;--card:#1b2129;--link:#7db4f0;--c0:#68a8ec;--c1:#f0935a;--c2:#5ec48d;--c3:#bd98e6;
--c4:#dcb93c;--c5:#ec7fa9}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--ground);
max-width:68rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.8rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
h3{font-size:1rem;margin:0;overflow-wrap:anywhere}
p{margin:.4rem 0 .8rem;max-width:44rem}
.soft,caption{color:var(--soft);font-size:.9rem}
a{color:var(--link)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.3rem}
th,td{padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);text-align:right;
white-space:nowrap}
th{color:var(--soft);font-size:.9rem}
th.text,td.text{text-align:left}
tr.first td{border-top:2px solid var(--line)}
tr.here td{font-weight:bold}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(27rem,100%),1fr));gap:1.5rem}
svg{width:100%;max-width:34rem;height:auto}
svg text{fill:currentColor;font-size:12px}
svg path{fill:none}
.tracks{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));gap:1rem}
article{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem}
article div{display:grid;grid-template-columns:5.5rem 3.5rem 1fr;align-items:center;gap:.5rem;
border-top:1px solid var(--line);padding:.25rem 0;font-variant-numeric:tabular-nums}
article div b{text-align:right}
article div span{overflow:hidden;text-overflow:ellipsis}
audio{width:100%;height:2rem;min-width:0}
"""


def write_report(
    path: Path,
    systems: Mapping[str, Sequence[TrackScores]],
    failures: Mapping[str, str] | None = None,
    audio: Mapping[str, Path] | None = None,
    players: Mapping[str, Path] | None = None,
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
    audio : mapping of str to Path, optional
        By track, the folder of the first system's estimates, to link to.
    players : mapping of str to Path, optional
        By track, a page to listen to them, to link to.

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
        f'<p class="soft">Scores of {len(tracks)} track{"s" * (len(tracks) != 1)} by {METHOD}. '
        f"Open-Unmix {__version__}, {datetime.date.today()}.</p>",
        "<h2>Medians</h2>",
        _measured(systems),
        "<h2>Distribution over tracks</h2>",
        "<p>Each box spans the quartiles of the tracks' medians, with the median as a line; "
        "whiskers end at the last track within 1.5 times that span, dots are tracks beyond. "
        "Values beyond 60 dB are drawn there.</p>",
        *_plots(systems),
        f"<h2>Worst {min(_WORST, len(tracks))} tracks</h2>",
        _worst(tracks, path, audio or {}, players or {}),
        "<h2>Published systems</h2>",
        _beside_published(systems),
        "<h2>Measures of whole tracks</h2>",
        "<p>Other definitions: these numbers cannot be compared with those above.</p>",
        *(_whole(systems, metric) for metric in WHOLE_TRACK),
        _problems(tracks, failures or {}),
        _tables(path),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(name)}: scores</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")


def worst_tracks(tracks: Sequence[TrackScores]) -> list[TrackScores]:
    """Return the ten tracks with the lowest SDR, the mean over targets, the worst first.

    Parameters
    ----------
    tracks : sequence of TrackScores
        Scores of one system.

    Returns
    -------
    list of TrackScores
        Ten of them, or all.
    """
    return sorted(tracks, key=_mean)[:_WORST]


def _mean(track: TrackScores) -> float:
    """Return the mean over targets of the SDR; inf if there is none."""
    values = [track.median(target, "SDR") for target in track.frames]
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.inf


def _text(value: object) -> str:
    """Escape what comes from file names and the like."""
    return html.escape(str(value))


def _number(value: float) -> str:
    """Return a number of dB for a table; what is above 100 is rounding errors."""
    if not math.isfinite(value):
        return "-"
    return "&gt; 100" if value > 100 else f"{value:.2f}"


def _table(heading: Sequence[str], rows: Iterable[str], caption: str = "", texts: int = 1) -> str:
    """Return a table of rows that are HTML already; the first columns are texts."""
    cells = "".join(
        f"<th{' class=text' if number < texts else ''}>{_text(cell)}</th>"
        for number, cell in enumerate(heading)
    )
    about = f"<caption>{_text(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{about}<tr>{cells}</tr>{"".join(rows)}</table></div>'


def _row(texts: Sequence[str], numbers: Iterable[float], kind: str = "", remark: str = "") -> str:
    """Return a row: texts, numbers, and a last text."""
    cells = [f'<td class="text">{_text(text)}</td>' for text in texts]
    cells += [f"<td>{_number(number)}</td>" for number in numbers]
    cells += [f'<td class="text soft">{_text(remark)}</td>'] if remark else []
    return f"<tr{f' class={kind}' if kind else ''}>{''.join(cells)}</tr>"


def _targets(systems: Mapping[str, Sequence[TrackScores]]) -> list[str]:
    """Return all targets, in order of appearance."""
    tracks = [track for scores in systems.values() for track in scores]
    return list(dict.fromkeys(target for track in tracks for target in track.frames))


def _measured(systems: Mapping[str, Sequence[TrackScores]]) -> str:
    """Return the medians of each target, system and measure, measured here."""
    medians = {system: median_over_tracks(tracks) for system, tracks in systems.items()}
    rows = []
    for target in _targets(systems):
        chosen = {name: values[target] for name, values in medians.items() if target in values}
        for number, (system, values) in enumerate(chosen.items()):
            kind = "first" if number == 0 and len(systems) > 1 else ""
            rows.append(_row([target, system], (values[metric] for metric in METRICS), kind))
    caption = "dB; median over frames of a second, then over tracks; measured here"
    return _table(["target", "system", *METRICS], rows, caption, texts=2)


def _beside_published(systems: Mapping[str, Sequence[TrackScores]]) -> str:
    """Return the SDR of systems measured here and of published ones, marked as such."""
    rows = []
    for system, tracks in systems.items():
        medians = median_over_tracks(tracks)
        values = [medians.get(target, {}).get("SDR", math.nan) for target in _PUBLISHED_TARGETS]
        rows.append(_row([system], values, "here", "measured here"))
    for entry in PUBLISHED:
        remark = f"published: {entry.source}" + (f"; {entry.remark}" if entry.remark else "")
        values = [getattr(entry, target) for target in _PUBLISHED_TARGETS]
        rows.append(_row([entry.name], values, remark=remark))
    return (
        "<p>Published SDR on the 50 test tracks of MUSDB18 (HQ: MUSDB18-HQ), as their authors "
        "gave it; not measured here. Only scores on the same tracks can be compared.</p>"
        + _table(["system", *_PUBLISHED_TARGETS, ""], rows, "SDR in dB")
    )


def _whole(systems: Mapping[str, Sequence[TrackScores]], metric: str) -> str:
    """Return the medians over tracks of one measure of whole tracks."""
    targets = _targets(systems)
    rows = []
    for system, tracks in systems.items():
        medians = median_over_tracks(tracks)
        values = [medians.get(target, {}).get(metric, math.nan) for target in targets]
        rows.append(_row([system], values))
    return _table(["system", *targets], rows, f"{_WHOLE_TITLES[metric]}, dB, median over tracks")


def _worst(
    tracks: Sequence[TrackScores],
    path: Path,
    audio: Mapping[str, Path],
    players: Mapping[str, Path],
) -> str:
    """Return the tracks with the lowest SDR, with what plays their estimates."""
    cards = [
        _card(track, path, audio.get(track.name), players.get(track.name))
        for track in worst_tracks(tracks)
    ]
    return (
        "<p>By the mean over targets of their SDR in dB, each the median over frames.</p>"
        f'<section class="tracks">{"".join(cards)}</section>'
    )


def _card(track: TrackScores, path: Path, folder: Path | None, player: Path | None) -> str:
    """Return one track: a line for each target, which can be listened to if there is a file."""
    files = audio_files(folder) if folder is not None and folder.is_dir() else {}
    lines = []
    for target in track.frames:
        line = f"<span>{_text(target)}</span><b>{_number(track.median(target, 'SDR'))}</b>"
        if target in files:
            link = _link(files[target], path)
            line += f'<audio controls preload="none" src="{link}"></audio>'
        lines.append(f"<div>{line}</div>")
    about = f"mean {_number(_mean(track))} dB"
    if player is not None:
        about += f' · <a href="{_link(player, path)}">listen to all together</a>'
    name = _text(track.name)
    return f'<article><h3>{name}</h3><p class="soft">{about}</p>{"".join(lines)}</article>'


def _link(file: Path, path: Path) -> str:
    """Return the address of a file from where the report is."""
    return _text(quote(Path(os.path.relpath(file, path.parent)).as_posix()))


def _tables(path: Path) -> str:
    """Return links to the tables beside the report."""
    links = [
        f'<a href="{name}">{name}</a>, {about}'
        for name, about in _FILES.items()
        if (path.parent / name).exists()
    ]
    return f'<p class="soft">Tables: {"; ".join(links)}.</p>' if links else ""


def _problems(tracks: Sequence[TrackScores], failures: Mapping[str, str]) -> str:
    """Return what failed, was left out, or is doubtful."""
    lines = [
        f"<b>{_text(name)}</b>, not scored: {_text(reason)}" for name, reason in failures.items()
    ]
    lines += [f"{_text(track.name)}: {_text(note)}" for track in tracks for note in track.notes]
    if not lines:
        return ""
    return "<h2>Remarks</h2><ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _plots(systems: Mapping[str, Sequence[TrackScores]]) -> list[str]:
    """Return a box plot for each measure, with a group for each target."""
    plots = [
        box_plot(
            f"{metric} in dB",
            {
                target: {
                    system: [track.median(target, metric) for track in tracks]
                    for system, tracks in systems.items()
                }
                for target in _targets(systems)
            },
        )
        for metric in METRICS
    ]
    return ['<section class="plots">', *plots, "</section>"]
