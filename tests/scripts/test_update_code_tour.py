"""The map of the code tour names every file, and its walks name files that exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "code-tour.md").read_text("utf-8")


def test_map_of_the_code_tour_is_up_to_date():
    script = runpy.run_path(str(ROOT / "scripts" / "update_code_tour.py"))
    assert script["MARKED"].search(PAGE)[0] == f"<!-- map -->\n{script['tables']()}<!-- /map -->"


@pytest.mark.parametrize(
    "path",
    sorted(set(re.findall(r"`((?:\w+/)+[\w.]+\.\w+|_?\w+\.py)`", PAGE.split("## Every")[0]))),
)
def test_files_of_the_walks_exist(path):
    assert any(file.as_posix().endswith(f"/{path}") for file in ROOT.glob("*/**/*.*"))
