"""Write the map in docs/code-tour.md: a line for each file, the first of its docstring.

::

    python scripts/update_code_tour.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "code-tour.md"
MARKED = re.compile(r"(<!-- map -->\n).*?(<!-- /map -->)", re.DOTALL)


def main() -> None:
    """Replace what is between the marks of the page."""
    page = PAGE.read_text("utf-8")
    PAGE.write_text(MARKED.sub(lambda found: found[1] + tables() + found[2], page), "utf-8")


def tables() -> str:
    """Return a table for each package, the root first."""
    folders = sorted({path.parent for path in (ROOT / "openunmix").rglob("*.py")})
    return "".join(map(table, folders))


def table(folder: Path) -> str:
    """Return the table of a package."""
    name = folder.relative_to(ROOT).as_posix()
    files = sorted(folder.glob("*.py"), key=lambda path: (path.name != "__init__.py", path.name))
    rows = [f"| [`{path.name}`](../{name}/{path.name}) | {summary(path)} |\n" for path in files]
    return f"\n### {name}/\n\n| file | content |\n|---|---|\n{''.join(rows)}\n"


def summary(path: Path) -> str:
    """Return the first line of a file's docstring as Markdown, without its full stop."""
    line = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()[0]
    line = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", line).replace("``", "`").replace("|", r"\|")
    return line.removesuffix(".")


if __name__ == "__main__":
    main()
