"""Measure the bundled model again, and write the table of scores in docs/models.md.

::

    python scripts/update_scores.py FOLDER

The folder holds a folder of stems per song, see ``recipes/umxs/scores.py``. Without it nothing
changes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "models.md"
MARKED = re.compile(r"(<!-- scores: .*? -->\n).*?(<!-- /scores -->)", re.DOTALL)


def main() -> None:
    """Replace what is between the marks of the page."""
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    if folder is None or not folder.is_dir():
        print(f"{folder}: no such folder of songs, so {PAGE.relative_to(ROOT)} stays as it is;")
        print("give one with true stems: make scores DATA=FOLDER")
        return
    table = output([sys.executable, "recipes/umxs/scores.py", str(folder.resolve())])
    commit = output(["git", "rev-parse", "--short", "HEAD"]).strip()
    table = re.sub(r"^(.*Open-Unmix \S+?),", rf"\1 (commit {commit}),", table, count=1)
    page, marks = MARKED.subn(lambda found: found[1] + table + found[2], PAGE.read_text("utf-8"))
    if marks != 1:
        sys.exit(f"{PAGE} has {marks} tables between <!-- scores: --> and <!-- /scores -->, not 1")
    PAGE.write_text(page, "utf-8")
    print(table)


def output(command: list[str]) -> str:
    """Run a command in the root, and return what it prints."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
