"""A page of the documentation for each bundled model, from the card that lies beside its weights.

``python scripts/model_cards.py`` writes ``docs/models/NAME.md``; a test compares. The site adds a
player with an example, which is separated when the site is built.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from openunmix.pretrained.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "models"
NAMES = [name for name, entry in MODELS.items() if entry.bundled]

# What the site replaces by a player.
PLAYER = "<!-- player -->"
LISTEN = f"""## Listen

{PLAYER}

The site that `make docs` builds has a player here: an example that is separated while it is built.
Of a file of yours, `umx --model {{name}} --player FILE` makes the same.

"""


def page(name: str) -> str:
    """Return the page of a model: its card without what fills its tables, and a player."""
    card = ROOT / "openunmix" / "weights" / name / "README.md"
    text = re.sub(r"<!-- /?table.*? -->\n", "", card.read_text("utf-8"))

    def moved(link: re.Match[str]) -> str:
        target = (card.parent / link[1]).resolve()
        if target.name == "README.md" and target.parent.name in NAMES:
            return f"]({target.parent.name}.md)"
        return f"]({Path(os.path.relpath(target, PAGES)).as_posix()})"

    text = re.sub(r"\]\((?!https?:)([^)#]+)\)", moved, text)
    before, data, after = text.partition("## Data\n")
    return before + LISTEN.format(name=name) + data + after


def main() -> int:
    """Write all pages; return the exit code."""
    PAGES.mkdir(exist_ok=True)
    for name in NAMES:
        (PAGES / f"{name}.md").write_text(page(name), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
