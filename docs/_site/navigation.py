"""The table of contents: the pages of the site, in groups."""

from pathlib import Path

from sphinx.application import Sphinx

#: Pages by group; a name that ends in ``*`` is a pattern. A page that no group has is an error.
GROUPS = {
    "Start": ["quickstart", "project/try", "gallery/index"],
    "Separate": ["inference", "player", "serve", "browser", "lite", "catalogue", "gpu"],
    "Models": ["models", "models/*", "onnx", "performance", "evaluation"],
    "Train": ["training", "datasets", "extending"],
    "Coming from": ["coming-from-1.3.0", "compatibility", "coming-from-*"],
    "Inside": ["algorithm", "code-tour", "api/index"],
    "Project": ["project/changes", "project/contributing", "decisions", "log", "project/offline"],
}
GENERATED = {"gallery/index"}


def pages(folder: Path) -> dict[str, list[str]]:
    """Pages of each group that are there, every page once."""
    listed: set[str] = set()
    groups = {}
    for group, names in GROUPS.items():
        found = [page for name in names for page in _matches(folder, name)]
        groups[group] = [page for page in dict.fromkeys(found) if page not in listed]
        listed.update(found)
    return groups


def _matches(folder: Path, name: str) -> list[str]:
    if name in GENERATED:
        return [name]
    files = [*folder.glob(f"{name}.md"), *folder.glob(f"{name}.rst")]
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files)


def _append(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the groups to the first page, where GitHub does not show them."""
    if page == "index":
        for group, names in pages(Path(app.srcdir)).items():
            lines = ["", "```{toctree}", ":hidden:", f":caption: {group}", "", *names, "```", ""]
            source[0] += "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", _append)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
