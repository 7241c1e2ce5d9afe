"""Fixtures of the tests of the page that separates in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from helpers.browsers import browser, download, page, sound_card  # noqa: F401

SITE = Path(__file__).parents[2] / "build" / "site"


class Quiet(SimpleHTTPRequestHandler):
    """A static server, as simple as can be."""

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    """Serve the page at a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def site():
    """Return a server of the page, and its address as ``url``."""
    if not (SITE / "index.html").exists():
        pytest.skip("build/site is missing: make site")
    with serving() as server:
        server.url = f"http://127.0.0.1:{server.server_port}/"
        yield server
