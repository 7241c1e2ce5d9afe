"""What stands beside the pages: the browser page, ``llms.txt``, and the site as one archive."""

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from _site.navigation import pages

BROWSER_PAGE = Path(__file__).parents[2] / "build" / "site"
ARCHIVE = "open-unmix-docs"
SUMMARY = "Open-Unmix 2 separates music into vocals, drums, bass and other instruments."
#: Page and description, in a table of the first page.
DESCRIBED = r"\| \[[^\]]*\]\(([^)]*)\.md\) \| (.*?) \|"

PLACE = "<!-- page -->"
OFFERED = """<p><a class="try" href="../try/index.html">Open the page</a></p>

[Separation in the browser](../browser.md) tells how it works and what it needs. It works from a
server only, as pages from a disk may not compute in the background: in the folder of the site,
`python -m http.server` is one."""
MISSING = (
    "This copy of the site was built without the page. In a checkout, `make site docs` adds it."
)


def _offer(_: Sphinx, page: str, source: list[str]) -> None:
    """Link to the browser page, or report that it is missing."""
    if page == "project/try":
        source[0] = source[0].replace(PLACE, OFFERED if BROWSER_PAGE.is_dir() else MISSING)


def _finish(app: Sphinx, error: Exception | None) -> None:
    """Add to the site what is not a page of it."""
    if error or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    shutil.rmtree(folder / "try", ignore_errors=True)
    if BROWSER_PAGE.is_dir():
        shutil.copytree(BROWSER_PAGE, folder / "try")
    _write_llms(app, folder)
    (folder / f"{ARCHIVE}.zip").unlink(missing_ok=True)
    archive = shutil.make_archive(str(folder.parent / ARCHIVE), "zip", folder)
    shutil.move(archive, folder)


def _write_llms(app: Sphinx, folder: Path) -> None:
    """Write ``llms.txt``, the list of pages as Markdown, and ``llms-full.txt`` with their text."""
    described = dict(re.findall(DESCRIBED, Path(app.srcdir, "index.md").read_text("utf-8")))
    index, text = [f"# {app.config.project}", "", f"> {SUMMARY}"], []
    for group, names in pages(Path(app.srcdir)).items():
        index += ["", f"## {group}", ""]
        for name in names:
            title, source = app.env.titles[name].astext(), Path(app.env.doc2path(name))
            line = f"- [{title}](_sources/{name}{source.suffix}.txt)"
            index.append(f"{line}: {described[name]}" if name in described else line)
            if source.suffix == ".md" and name != "log":
                text += [f"<!-- {name} -->", "", source.read_text("utf-8")]
    (folder / "llms.txt").write_text("\n".join([*index, ""]), "utf-8")
    (folder / "llms-full.txt").write_text("\n".join(text), "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", _offer)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
