"""Servers with a real and with a pretended separation."""

from __future__ import annotations

import pytest
from helpers.models import save_model
from helpers.web_server import finished, send, serving, wav_bytes

from openunmix.web.server import tasks
from openunmix.web.server.settings import Settings


@pytest.fixture(scope="session")
def server(tmp_path_factory, tiny_separator):
    """Return a client of a server that really separates, with a tiny model."""
    folder = tmp_path_factory.mktemp("server")
    model = save_model(folder / "tiny", tiny_separator(("vocals", "drums", "bass", "other")))
    with serving(Settings(folder / "data", model=str(model)), tasks.separate) as client:
        client.folder, client.model = folder, model
        yield client


@pytest.fixture(scope="session")
def done(server):
    """Return a finished job of a track of one second."""
    return finished(server, send(server, "my song.wav", wav_bytes(), residual="true").json())


@pytest.fixture
def quick(tmp_path):
    """Return a client of a server that only pretends to separate."""
    with serving(Settings(tmp_path / "data")) as client:
        yield client
