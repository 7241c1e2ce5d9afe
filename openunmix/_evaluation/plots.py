"""Box plots as SVG, in the colours of the page that holds them."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

__all__ = ["COLOURS", "box_plot"]

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
            parts.append(f'<text x="0" y="{y + 8}" font-weight="bold">{_text(group)}</text>')
            y += _HEADING
        for number, label in enumerate(rows):
            name = label if len(rows) > 1 else group
            parts.append(
                f'<text x="{_LEFT - 8}" y="{y + 8}" text-anchor="end">{_text(name)}</text>'
            )
            if finite[group, label]:
                parts.append(_box(finite[group, label], x, y + 4, number % COLOURS))
            y += _ROW
    height = y + 28
    return (
        f'<svg viewBox="0 0 {_LEFT + _WIDTH + _MARGIN} {height}" role="img" '
        f'aria-label="{_text(title)}"><text x="0" y="14" font-weight="bold">{_text(title)}</text>'
        + "".join(_grid(x, low, high, height))
        + "".join(parts)
        + "</svg>"
    )


def _clamped(value: float) -> float:
    """Return a value that can be drawn."""
    return max(_LIMITS[0], min(value, _LIMITS[1]))


def _text(value: str) -> str:
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
