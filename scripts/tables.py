"""Tables of numbers in the documentation, filled from ``docs/data/*.json``.

::

    python scripts/tables.py          # after a change of a JSON file, of a page or of the registry

Scripts that measure write the JSON by :func:`save`; nobody types a number. A page has the place of
a table between ``<!-- table: NAME -->`` and ``<!-- /table -->``, or ``NAME/KEY`` for one of several
tables. ``NAME`` is a file in ``docs/data``, or a table of the registry, see
``model_tables.py``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "data"
BLOCK = re.compile(r"(<!-- table: ([\w/.-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)

# A list in JSON without others in it, over several lines.
FLAT_LIST = re.compile(r'\[\s*\n((?:"(?:[^"\\]|\\.)*"|[^"\[\]])*)\]')

Cell = str | float | None  # numbers are formatted, text stays, None is empty


@dataclass
class Table:
    """A table: a format for the numbers of each column, ``""`` for columns of text."""

    columns: Sequence[str]
    formats: Sequence[str]  # as {:.2f}
    rows: list[list[Cell]] = field(default_factory=list)
    title: str = ""  # a line above it

    def markdown(self) -> str:
        """Return the table in Markdown."""
        lines = [list(self.columns), ["---"] * len(self.columns)]
        for row in self.rows:
            lines.append([_shown(*pair) for pair in zip(row, self.formats, strict=True)])
        text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        return f"{self.title}\n\n{text}" if self.title else text


def _shown(cell: Cell, form: str) -> str:
    """Return a cell as text."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else (form or "{}").format(cell)


def save(name: str, script: str, caption: str, tables: Mapping[str, Table]) -> None:
    """Write ``docs/data/NAME.json``: the command that measured, a line on machine and versions."""
    content = {
        "script": script,
        "caption": caption,
        "tables": {key: asdict(table) for key, table in tables.items()},
    }
    text = FLAT_LIST.sub(_one_line, json.dumps(content, indent=1, ensure_ascii=False))
    DATA.mkdir(exist_ok=True)
    (DATA / f"{name}.json").write_text(f"{text}\n", "utf-8")


def _one_line(found: re.Match[str]) -> str:
    """Return a list of JSON in one line, so that a row is a line."""
    return "[" + re.sub(r"\s*\n\s*", " ", found[1]).strip() + "]"


def report(name: str, script: str, caption: str, tables: Mapping[str, Table], write: bool) -> None:
    """Print tables; with ``write`` also save them and fill the pages."""
    print(caption, *(table.markdown() for table in tables.values()), sep="\n\n")
    if write:
        save(name, script, caption, tables)
        main()


def add_save_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of scripts that measure."""
    parser.add_argument("--save", action="store_true", help="write docs/data and fill the pages")


def rendered(name: str) -> str:
    """Return the content of a block."""
    if name in ("models", "front-page-models"):
        from model_tables import TABLES  # needs the package, unlike measuring other programs

        return Table(*TABLES[name]()).markdown()
    file, _, key = name.partition("/")
    content = json.loads((DATA / f"{file}.json").read_text("utf-8"))
    tables = {name: Table(**table) for name, table in content["tables"].items()}
    if key:
        tables = {key: replace(tables[key], title="")}
    caption = f"{content['caption']}\n\n" if content["caption"] else ""
    return caption + "\n".join(table.markdown() for table in tables.values())


def pages() -> Iterator[Path]:
    """Yield the pages that may have blocks."""
    yield ROOT / "README.md"
    for folder in ("docs", "openunmix/weights", "recipes"):
        yield from sorted((ROOT / folder).glob("*.md" if folder == "docs" else "*/README.md"))


def filled(page: str) -> str:
    """Return the text of a page with all blocks filled."""
    return BLOCK.sub(lambda found: found[1] + rendered(found[2]) + found[3], page)


def main() -> int:
    """Fill all blocks; return the exit code."""
    for page in pages():
        text = page.read_text("utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, "utf-8")
            print(f"{page.relative_to(ROOT)} updated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
