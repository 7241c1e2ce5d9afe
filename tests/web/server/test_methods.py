"""HEAD, OPTIONS and ranges of every route."""

from __future__ import annotations

import pytest
from helpers.web_server import detail, finished, send


def test_head_is_get_without_the_body(quick):
    """A program asked for the size of a stem with HEAD, and was refused."""
    job = finished(quick, send(quick).json())["id"]
    paths = ["/", "/static/app.js", "/api/health", "/api/jobs", f"/api/jobs/{job}", "/nothing"]
    paths += [f"/api/jobs/{job}/files/vocals", f"/jobs/{job}/index.html", "/api/openapi.json"]
    for path in paths:
        head, get = quick.head(path), quick.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        same = ("content-length", "content-type", "content-security-policy", "cache-control")
        assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    for path in ("/api/events", f"/api/jobs/{job}/result.zip"):  # without end, and made on the way
        assert (quick.head(path).status_code, quick.head(path).content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/jobs", "GET, HEAD, OPTIONS, POST"),
        ("/api/jobs/x", "DELETE, GET, HEAD, OPTIONS"),
        ("/api/health", "GET, HEAD, OPTIONS"),
        ("/jobs/x/index.html", "GET, HEAD, OPTIONS"),
        ("/static/app.js", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
    ],
)
def test_methods_of_a_path_are_listed(quick, path, methods):
    """OPTIONS was refused, and the methods of a path were only those of one of its routes."""
    response = quick.options(path)
    assert (response.status_code, response.headers["allow"]) == (204, methods)
    response = quick.patch(path)
    assert (response.status_code, response.headers["allow"]) == (405, methods)
    assert detail(response) == f"PATCH is not possible here; use {methods}"


@pytest.mark.parametrize(
    ("given", "code", "content"),
    [
        ("bytes=0-2", 206, b"all"),
        ("bytes=-6", 206, b"vocals"),
        ("bytes=11-", 206, b"vocals"),
        ("bytes=11-999", 206, b"vocals"),
        ("bytes=99-", 416, b""),
        ("bytes=5-2", 200, b"all of the vocals"),
        ("bytes=-", 200, b"all of the vocals"),
        ("bytes=x", 200, b"all of the vocals"),
        ("seconds=1-2", 200, b"all of the vocals"),
    ],
)
def test_ranges_are_sent_and_senseless_ones_ignored(quick, given, code, content):
    """RFC 9110, section 14.2: a unit that is not known must be ignored, and was an error."""
    job = finished(quick, send(quick).json())["id"]
    response = quick.get(f"/api/jobs/{job}/files/vocals", headers={"range": given})
    assert (response.status_code, response.content) == (code, content)


def test_page_that_is_gone_says_so_in_words(quick):
    """A browser showed the JSON of the API for the page of a song that had been removed."""
    path = f"/jobs/{'0' * 32}/index.html"
    response = quick.get(path, headers={"accept": "text/html,*/*"})
    assert (response.status_code, response.headers["content-type"]) == (
        404,
        "text/plain; charset=utf-8",
    )
    assert response.text.endswith("it may have been removed")
    assert detail(quick.get(f"/api{path}", headers={"accept": "text/html"}))
