"""The documentation site: its pages, its formulas and its links, without building it."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from openunmix.cli import _evaluate, _models, _separate, _serve, _train

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PARSERS = {
    "umx": _separate.parser,
    "umx-evaluate": _evaluate.parser,
    "umx-models": _models.parser,
    "umx-serve": _serve.parser,
    "umx-train": _train.parser,
    "scripts/train.py": _train.parser,
}


def module(path):
    """Load a file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def navigation():
    return module(DOCS / "_site/navigation.py")


def test_every_page_is_in_one_group(navigation):
    listed = [page for names in navigation.pages(DOCS).values() for page in names]
    written = {
        path.relative_to(DOCS).with_suffix("").as_posix()
        for folder in ("", "project/", "models/")
        for path in DOCS.glob(f"{folder}*.md")
    }
    assert len(listed) == len(set(listed))
    assert written - set(listed) == {"index"}


def test_every_page_of_the_reference_is_listed():
    listed = re.findall(r"^openunmix\S*$", (DOCS / "api/index.md").read_text("utf-8"), re.M)
    assert {path.stem for path in DOCS.glob("api/*.rst")} == set(listed)
    for name in listed:
        assert f"automodule:: {name}\n" in (DOCS / f"api/{name}.rst").read_text("utf-8")
        assert importlib.util.find_spec(name)


def test_first_page_describes_every_page(navigation):
    described = re.findall(r"^\| \[.*?\]\((.*?)\.md\)", (DOCS / "index.md").read_text(), re.M)
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert pages == set(described)


def test_formulas_are_understood():
    latex2mathml = pytest.importorskip("docutils.utils.math.latex2mathml")
    pages = [path.read_text("utf-8") for path in DOCS.glob("*.md")]
    plain = [re.sub(r"^```.*?^```|`[^`\n]*`", "", page, flags=re.M | re.S) for page in pages]
    code = [path.read_text("utf-8") for path in ROOT.glob("openunmix/**/*.py")]
    docstrings = [
        ast.get_docstring(node) or ""
        for text in code
        if ":math:" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))
    ]
    formulas = [f for page in plain for f in re.findall(r"\$\$(.+?)\$\$", page, re.S)]
    formulas += [f for text in docstrings for f in re.findall(r":math:`([^`]+)`", text)]
    formulas += [
        f for text in docstrings for f in re.findall(r"\.\. math::(.*?)\n\n(?=\S|\Z)", text, re.S)
    ]
    assert len(formulas) > 20
    for formula in formulas:
        assert latex2mathml.tex2mathml(formula)


def page(folder, name, body):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"<html><body>{body}</body></html>")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="b/c.html#here">fine</a> <a href="https://example.org">fine</a>', None),
        ('<a href="b/d.html">x</a>', "does not exist"),
        ('<a href="b/c.html#there">x</a>', "the page has no such anchor"),
        ('<a href="#there">x</a>', "the page has no such anchor"),
        ('<a href="b">x</a>', "is a folder"),
        ('<img src="https://example.org/x.png">', "is loaded from the network"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "is loaded from the network"),
        ('<script src="x.js"></script>', "does not exist"),
    ],
)
def test_links_that_lead_nowhere_are_found(body, problem, tmp_path):
    page(tmp_path, "a.html", body)
    page(tmp_path, "b/c.html", '<h1 id="here">x</h1><a href="../a.html">back</a>')
    found = module(ROOT / "scripts/check_links.py").check(tmp_path)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_gallery_scripts_state_the_licence_of_the_song():
    for script in sorted(ROOT.glob("examples/gallery/*.py")):
        code = script.read_text("utf-8")
        text = code.replace("\n# ", " ")
        assert ("stempeg" in text) == ("CC BY-NC-SA" in text)
        assert "openunmix" in text
        compile(code, script.name, "exec")


def test_commands_in_tables_of_coming_from_pages_are_understood():
    commands = [
        shlex.split(command)
        for path in DOCS.glob("coming-from-*.md")
        for row in re.findall(r"^\|.*", path.read_text("utf-8"), re.MULTILINE)
        for command in re.findall(r"`(umx[^`]*|python scripts/train.py[^`]*)`", row)
        if " " in command
    ]
    assert len(commands) > 20
    for program, *arguments in commands:
        name = arguments.pop(0) if program == "python" else program
        PARSERS[name]().parse_args(arguments)
