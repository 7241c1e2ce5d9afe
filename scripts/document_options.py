"""Write the options of ``umx-train`` into the table in ``docs/training.md``.

``python scripts/document_options.py`` takes them from the parser of the command; a test compares.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from openunmix.cli import _train

PAGE = Path(__file__).parents[1] / "docs/training.md"
HEAD = "| option | default | meaning |\n|---|---|---|\n"


def options_table(parser: argparse.ArgumentParser) -> str:
    """Table in Markdown of all options but hidden ones; defaults are those that the help names."""
    return HEAD + "".join(_rows(parser))


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a row for each option."""
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        if action.choices:
            value = f" {{{','.join(action.choices)}}}"
        if action.nargs == "+":
            value += " ..."
        [(meaning, default)] = re.findall(r"^(.*?)(?: \(default: (.*)\))?$", action.help or "")
        yield f"| `{action.option_strings[-1]}{value}` | {default} | {meaning} |\n"


def with_table(page: str, table: str) -> str:
    """Replace the table of a page."""
    begin = page.index(HEAD)
    end = page.find("\n\n", begin)
    return page[:begin] + table + (page[end + 1 :] if end >= 0 else "")


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), options_table(_train.parser())), "utf-8")
