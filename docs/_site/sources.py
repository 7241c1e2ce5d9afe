"""Files and folders of the repository that pages link to, as pages with coloured code."""

from collections.abc import Iterator
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).parents[2]

#: Files outside of the documentation that have a page in it.
PAGES = {
    "README.md": "index",
    "CHANGELOG.md": "project/changes",
    "CONTRIBUTING.md": "project/contributing",
}
LANGUAGES = {".py": "python", ".sh": "bash", ".md": "markdown", ".js": "javascript"}


class LinkToSource(SphinxTransform):
    """Replace links to files outside of the documentation by links to their pages."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Replace the links of a page."""
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for link in list(self.document.findall(kind)):
                page = link.get("reftype") == "myst" and self._page(link)
                if page:
                    uri = relative_uri(f"{self.env.docname}.html", f"{page}.html")
                    link.replace_self(nodes.reference("", "", *link.children, refuri=uri))

    def _page(self, link: nodes.Element) -> str | None:
        """Name of the page for the target of a link; None inside of the documentation."""
        target = link["reftarget"]
        if link.get("refdomain") == "doc":
            path = Path(self.env.srcdir, f"{target}.md").resolve()
        else:
            path = Path(self.env.srcdir, self.env.docname).parent.joinpath(target).resolve()
        if not path.exists() or not path.is_relative_to(ROOT) or path.is_relative_to(ROOT / "docs"):
            return None
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES:
            return PAGES[name]
        _linked(self.env).add(name)
        return _uri(name)


def _uri(name: str) -> str:
    return f"source/{name}" + ("/index" if (ROOT / name).is_dir() else "")


def _linked(env: BuildEnvironment) -> set[str]:
    """Names of what needs a page."""
    return env.__dict__.setdefault("linked_sources", set())


def _files(folder: str) -> list[str]:
    found = (ROOT / folder).rglob("*")
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in found
        if path.is_file() and path.suffix in {*LANGUAGES, ".toml", ".json", ".csv", ".txt"}
    )


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield the page of every file and folder."""
    folders = [name for name in _linked(app.env) if (ROOT / name).is_dir()]
    listed = {folder: _files(folder) for folder in folders}
    for folder, files in listed.items():
        links = (
            f'<li><a href="{escape(name[len(folder) + 1 :])}.html">{escape(name)}</a></li>'
            for name in files
        )
        yield _page(folder, f"<ul>{''.join(links)}</ul>")
    for name in sorted({*_linked(app.env), *chain(*listed.values())} - {*folders}):
        text = (ROOT / name).read_text("utf-8")
        language = LANGUAGES.get(Path(name).suffix, "text")
        yield _page(name, app.builder.highlighter.highlight_block(text, language))


def _page(name: str, body: str) -> tuple[str, dict[str, str], str]:
    title = escape(name)
    return _uri(name), {"title": title, "body": f"<h1>{title}</h1>\n{body}"}, "page.html"


def _merge(_: Sphinx, env: BuildEnvironment, __: Any, other: BuildEnvironment) -> None:
    _linked(env).update(_linked(other))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_transform(LinkToSource)
    app.connect("html-collect-pages", _pages)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
