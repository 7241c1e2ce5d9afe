"""Box plots: the right quartiles, within their frame, whatever the labels."""

from __future__ import annotations

import math
import re

import pytest
from helpers.pages import PageParser
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.evaluate.box_plot import box_plot


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(max_size=20),
        st.dictionaries(
            st.text(max_size=20),
            st.lists(st.floats(-300, 300) | st.sampled_from([math.nan, math.inf])),
            max_size=3,
        ),
        max_size=4,
    )
)
def test_plots_stay_within_their_frame(groups):
    plot = box_plot("x", groups)
    assert PageParser(plot).open == []
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', plot).groups())
    drawn = re.sub("<text.*?</text>", "", plot)
    for x in re.findall(r' c?x="([-\d.]+)"', plot) + re.findall(r"[MH]([-\d.]+)", drawn):
        assert 0 <= float(x) <= width
    for y in re.findall(r' c?y="([-\d.]+)"', plot):
        assert 0 <= float(y) <= height


def test_plot_shows_quartiles_and_outliers():
    plot = box_plot("x", {"a": {"b": [1, 2, 3, 4, 5, 30]}})
    assert plot.count("<circle") == 1
    assert plot.count("<rect") == 1


def test_quartiles_are_those_of_values_that_cannot_be_drawn():
    # The median is beyond the scale, not half way to its end.
    plot = box_plot("x", {"a": {"b": [0, 90, 200]}})
    (end,) = re.findall(r"M([\d.]+) [\d.]+v12", plot)
    (width,) = re.findall(r'viewBox="0 0 (\d+)', plot)
    assert float(end) > 0.9 * float(width)


@pytest.mark.parametrize("values", [[math.inf], [5, math.inf], [-math.inf, math.inf, math.nan]])
def test_infinite_values_are_drawn_at_the_edge(values):
    """A perfect estimate was missing from the plot."""
    plot = box_plot("x", {"a": {"b": values}})
    assert plot.count("<rect") == 1
    assert "nan" not in plot


def test_labels_of_a_plot_are_targets_or_targets_and_systems():
    def labels(groups):
        return re.findall(r"<text[^>]*>([^<\d-]+)</text>", box_plot("SDR", groups))

    assert labels({"bass": {"umxs": [1]}, "drums": {"umxs": [1]}}) == ["SDR", "bass", "drums"]
    assert labels({"bass": {"umxs": [1], "mwf": [2]}}) == ["SDR", "bass", "umxs", "mwf"]
