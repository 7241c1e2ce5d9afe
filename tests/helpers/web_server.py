"""A server on a free port of loopback, in a thread, and what its clients do."""

from __future__ import annotations

import io
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import soundfile

from helpers.sounds import mixture
from helpers.tasks import act
from openunmix.web.server import Server
from openunmix.web.server.settings import Settings

__all__ = [
    "detail",
    "file_names",
    "finished",
    "kept",
    "send",
    "serving",
    "wait_for",
    "wav_bytes",
]

RATE = 8000


@contextmanager
def serving(settings, task=act, **options):
    """Run a server; give a client of it."""
    server = Server(settings, task)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_for(lambda: server.started)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=120, trust_env=False, **options) as client:
                yield client
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join()


def wait_for(condition, seconds=120.0):
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)
    return value


def wav_bytes(samples=RATE, seed=0, subtype="FLOAT"):
    """Return a mixture as the bytes of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, mixture(samples, seed).T.numpy(), RATE, subtype, format="WAV")
    return file.getvalue()


def send(client, name="song.wav", content=None, **fields):
    """Send a track; return the response."""
    files = {"file": (name, wav_bytes(800) if content is None else content)}
    return client.post("/api/jobs", data=fields, files=files)


def finished(client, job):
    """Wait for the end of a job and return it."""
    path = f"/api/jobs/{job['id']}"
    return wait_for(lambda: (now := client.get(path).json())["state"] in ("done", "failed") and now)


def detail(response):
    """Return the message of an error, after checking that it is one."""
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["detail"]
    return response.json()["detail"]


def kept(client_folder):
    """Names of what a server keeps."""
    return sorted(path.name for path in (client_folder / "jobs").iterdir())


def file_names(folder):
    """Names of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def main(folder):
    """Serve in this process, and write the port to stdout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(Settings(Path(folder)), act)
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        server.run([listener])


if __name__ == "__main__":
    main(sys.argv[1])
