"""Templates: complete, strict, and escaping."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from openunmix import _pages


@pytest.fixture
def template(monkeypatch):
    """Return a function that renders a text as a template beside those of the package."""

    def render(text, **values):
        own = jinja2.DictLoader({"test.html": text})
        environment = _pages._environment().overlay()
        environment.loader = jinja2.ChoiceLoader([own, environment.loader])
        monkeypatch.setattr(_pages, "_environment", lambda: environment)
        return _pages.render("test.html", **values)

    return render


PAGE = """{% extends "base.html" %}
{% block title %}{{ name }}{% endblock %}
{% block body %}
<h1>{{ name }}</h1>
{% endblock %}
"""


def test_page_has_the_common_head_and_colours_for_light_and_dark(template):
    page = template(PAGE, name="scores")
    assert page.startswith("<!doctype html>\n<html")
    assert page.endswith("</body>\n</html>\n")
    assert "<title>scores</title>" in page
    assert "prefers-color-scheme: dark" in page


def test_values_are_escaped(template):
    page = template(PAGE, name='<script>"1"</script> & more')
    assert "<script" not in page
    assert page.count("&lt;script&gt;&#34;1&#34;&lt;/script&gt; &amp; more") == 2


def test_missing_values_are_errors(template):
    with pytest.raises(jinja2.UndefinedError, match="name"):
        template(PAGE)


def test_every_template_parses():
    environment = _pages._environment()
    names = [path.name for path in Path(_pages.__file__).parent.glob("*.html")]
    assert "base.html" in names
    for name in names:
        environment.get_template(name)
