"""Check a built site: all links inside lead somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Attributes that load something, and would not without a network.
LOADED = {"img": "src", "script": "src", "iframe": "src", "audio": "src", "source": "src"}


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to, and what refers to it."""
        values = dict(attrs)
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        loaded = values.get("href") if tag == "link" else values.get(LOADED.get(tag, ""))
        if loaded and values.get("rel") != "canonical":
            self.loaded.append(loaded)


def check(folder: Path) -> list[str]:
    """Return a line for each link that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    problems = []
    for path, page in pages.items():
        for link in dict.fromkeys([*page.links, *page.loaded]):
            problem = _problem(link, path, pages, link in page.loaded)
            if problem:
                problems.append(f"{path.relative_to(folder.resolve())}: {link}: {problem}")
    return problems


def _problem(link: str, path: Path, pages: dict[Path, Page], loaded: bool) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        remote = loaded and parts.scheme not in ("data", "blob")
        return "is loaded from the network" if remote else None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        return "is a folder, which a browser does not open offline"
    if not target.exists():
        return "does not exist"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "the page has no such anchor"
    return None


def main() -> int:
    """Check the folder given on the command line; return the exit code."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("usage: python scripts/check_links.py FOLDER, of a built site")
    problems = check(Path(sys.argv[1]))
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
