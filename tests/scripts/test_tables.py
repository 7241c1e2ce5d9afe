"""Tables of numbers in the documentation are those of the committed JSON, and of the registry."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
import model_cards  # noqa: E402 - found by the line above
import tables  # noqa: E402
from tables import Table  # noqa: E402

PAGES = [page for page in tables.pages() if "<!-- table: " in page.read_text("utf-8")]
FILES = sorted(tables.DATA.glob("*.json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_are_what_the_data_says(page):
    text = page.read_text("utf-8")
    assert text.count("<!-- table: ") == text.count("<!-- /table -->") == len(blocks(text))
    assert tables.filled(text) == text, "run python scripts/tables.py"


def blocks(text):
    """Return the names of the blocks of a page."""
    return [found[2] for found in tables.BLOCK.finditer(text)]


def test_every_file_of_data_has_a_table_on_a_page():
    used = {name.partition("/")[0] for page in PAGES for name in blocks(page.read_text("utf-8"))}
    assert {file.stem for file in FILES} <= used


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_data_says_what_made_it_and_keeps_numbers_as_numbers(file):
    content = json.loads(file.read_text("utf-8"))
    assert content["script"]
    for table in content["tables"].values():
        for row in table["rows"]:
            assert len(row) == len(table["columns"]) == len(table["formats"])
        assert any(isinstance(cell, (int, float)) for row in table["rows"] for cell in row)


@pytest.mark.parametrize("name", ["performance", "models"])
def test_no_number_stands_in_a_table_without_data(name):
    """A row of decimals outside of the blocks was typed."""
    text = tables.BLOCK.sub("", (ROOT / "docs" / f"{name}.md").read_text("utf-8"))
    assert not re.findall(r"^\|.*\| -?\d+\.\d+ \|.*$", text, re.MULTILINE)


def test_saved_table_is_the_one_that_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "DATA", tmp_path)
    table = Table(["", "dB, [see]"], ["", "{:+.1f} dB"], [["a, {b}", 1.26], ["c", None]], "Title:")
    tables.save("speed", "benchmarks/x.py", "A machine", {"one": table, "two": table})
    text = (tmp_path / "speed.json").read_text("utf-8")
    assert '["a, {b}", 1.26],' in text
    assert json.loads(text)["caption"] == "A machine"
    plain = "|  | dB, [see] |\n| --- | --- |\n| a, {b} | +1.3 dB |\n| c |  |\n"
    assert tables.rendered("speed/one") == f"A machine\n\n{plain}"
    assert tables.rendered("speed") == f"A machine\n\nTitle:\n\n{plain}\nTitle:\n\n{plain}"


def test_changed_page_is_filled_again():
    page = "<!-- table: published -->\n9.99\n<!-- /table -->"
    assert "| `umx` | 6.32 |" in tables.filled(page)
    assert "9.99" not in tables.filled(page)


@pytest.mark.parametrize("name", model_cards.NAMES)
def test_page_of_a_model_is_its_card(name):
    page = (ROOT / "docs" / "models" / f"{name}.md").read_text("utf-8")
    assert page == model_cards.page(name), "run python scripts/model_cards.py"
    for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page):
        assert (ROOT / "docs" / "models" / link).exists(), link
