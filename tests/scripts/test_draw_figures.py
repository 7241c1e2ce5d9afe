"""The figures of README and documentation are those that their script draws."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["network", "chain"])
def test_committed_figure_is_what_the_script_draws(name, tmp_path):
    script = runpy.run_path(str(ROOT / "scripts/draw_figures.py"))
    script[f"draw_{name}"](tmp_path / "figure.svg")
    drawn = (tmp_path / "figure.svg").read_text("utf-8")
    assert drawn == (ROOT / f"docs/images/{name}.svg").read_text("utf-8")
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
