"""Horizontal box plots as SVG: the geometry; ``box_plot.html`` draws it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from openunmix._pages import render

# In pixels of the SVG's viewBox: the labels left of the boxes, the scale, and what is right of it.
_LABELS, _SCALE, _MARGIN = 104, 360, 16
_TITLE, _HEADING, _ROW, _AXIS = 36, 22, 20, 28  # heights
# dB. The mixture as an estimate has a SAR of about 200 dB, which is only rounding errors.
_LOWEST, _HIGHEST = -40, 60
_INFINITE = 1e6  # drawn for inf, between which and a number there is no quantile
_COLOURS = 6  # in base.html: --c0 to --c5


def box_plot(title: str, groups: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """SVG element with a box for each group and label, on a common scale in dB.

    NaN is left out, values beyond -40 and 60 dB, also infinite ones, are drawn at the edge.
    """
    known = {
        group: {
            label: sorted(max(-_INFINITE, min(v, _INFINITE)) for v in values if not math.isnan(v))
            for label, values in boxes.items()
        }
        for group, boxes in groups.items()
    }
    drawn = [_clamp(v) for boxes in known.values() for values in boxes.values() for v in values]
    low, high = math.floor(min(drawn, default=0)) - 1, math.ceil(max(drawn, default=0)) + 1

    def position(value: float) -> float:
        return round(_LABELS + _SCALE * (_clamp(value) - low) / (high - low), 1)

    headings, rows, y = [], [], _TITLE
    for group, boxes in known.items():
        if len(boxes) > 1:
            headings.append({"y": y, "label": group})
            y += _HEADING
        for number, (label, values) in enumerate(boxes.items()):
            name = label if len(boxes) > 1 else group
            box = _box(values, position) if values else None
            rows.append({"y": y, "label": name, "colour": number % _COLOURS, "box": box})
            y += _ROW
    step = next(step for step in (1, 2, 5, 10, 20) if (high - low) / step <= 10)
    ticks = range(-(-low // step) * step, high + 1, step)  # multiples of the step, from low upwards
    return render(
        "box_plot.html",
        title=title,
        headings=headings,
        rows=rows,
        ticks=[(tick, position(tick)) for tick in ticks],
        labels=_LABELS,
        width=_LABELS + _SCALE + _MARGIN,
        height=y + _AXIS,
    )


def _clamp(value: float) -> float:
    """Limit a value to what is drawn."""
    return max(_LOWEST, min(value, _HIGHEST))


def _box(values: list[float], position: Callable[[float], float]) -> dict[str, Any]:
    """Positions of Tukey's box of sorted values, with whiskers of 1.5 interquartile ranges."""
    first, median, third = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 1.5 * (third - first)
    inside = [value for value in values if first - reach <= value <= third + reach]
    # Quartiles of equal values may differ from them by rounding errors, so that none is inside.
    low, high = (inside[0], inside[-1]) if inside else (first, third)
    marks = {"low": low, "first": first, "median": median, "third": third, "high": high}
    outliers = [position(value) for value in values if value not in inside]
    return {name: position(value) for name, value in marks.items()} | {"outliers": outliers}
