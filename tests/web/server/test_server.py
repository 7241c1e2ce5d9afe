"""The server as a whole: the documented program, a full disk, errors, and a kill."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from helpers.web_server import detail, finished, send, serving, wait_for, wav_bytes

from openunmix.web.server import store, tasks
from openunmix.web.server.settings import Settings


def test_program_of_the_documentation_separates(server):
    page = Path(__file__).parents[3] / "docs" / "serve.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    namespace = {}
    exec(code, namespace)
    (server.folder / "song.wav").write_bytes(wav_bytes())
    content = namespace["separate"](server, server.folder / "song.wav", targets="drums")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["drums.wav"]


def test_disk_that_is_really_full(tmp_path, monkeypatch, server):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    try:
        monkeypatch.setattr(store.Store, "free", lambda self: 10**9)  # as if others filled it
        filler = disk / "filler"
        filler.write_bytes(bytes(1_000_000))
        with serving(Settings(disk, model=str(server.model)), tasks.separate) as client:
            content = wav_bytes(8000, subtype="PCM_16")
            job = finished(client, send(client, "large.wav", 4 * content[44:] and content).json())
            while job["state"] == "done":
                job = finished(client, send(client, "large.wav", content).json())
            assert job["error"].startswith("the disk of the server is full; remove old results")
            for other in client.get("/api/jobs").json():
                client.delete(f"/api/jobs/{other['id']}")
            small = finished(client, send(client, "small.wav").json())
            assert small["state"] == "done"
            with filler.open("ab", buffering=0) as file, suppress(OSError):
                while file.write(bytes(1024)):
                    pass
            response = client.get(f"/api/jobs/{small['id']}/result.stem.mp4")
            assert response.status_code == 507
            assert detail(response).startswith("the disk of the server is full")
            filler.unlink()
            assert client.get(f"/api/jobs/{small['id']}/result.stem.mp4").status_code == 200
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_internal_error_is_a_response_too(quick, monkeypatch, caplog):
    def fail(self):
        raise PermissionError("a disk is gone")

    monkeypatch.setattr(store.Store, "free", fail)
    response = send(quick)
    assert (response.status_code, detail(response)) == (
        500,
        "internal error; see the log of the server",
    )
    wait_for(lambda: "a disk is gone" in caplog.text)


def start(folder):
    """Start a server in a process of its own; return it and a client."""
    command = [sys.executable, "-m", "helpers.web_server", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    return process, httpx.Client(base_url=url, timeout=30, trust_env=False)


def alive(process):
    """Whether there is a process of a number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def reachable(client):
    """Whether a server responses."""
    try:
        return client.get("/api/health").is_success
    except httpx.TransportError:
        return False


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
def test_killed_server_offers_nothing_half_finished(tmp_path):
    folder = tmp_path / "data"
    process, client = start(folder)
    wait_for(lambda: reachable(client))
    done = finished(client, send(client).json())
    slow, waiting = send(client, "slow.wav").json(), send(client).json()
    work = folder / "jobs" / slow["id"] / "work"
    worker = int(wait_for(lambda: (path := work / "process").exists() and path.read_text("utf-8")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    client.close()
    wait_for(lambda: not alive(worker))
    with serving(Settings(folder)) as client:
        jobs = {job["id"]: job for job in client.get("/api/jobs").json()}
        assert jobs[done["id"]] == done
        assert client.get(f"/api/jobs/{done['id']}/files/vocals").content == b"all of the vocals"
        assert jobs[slow["id"]]["state"] == "failed"
        assert jobs[slow["id"]]["error"].startswith("interrupted")
        assert not work.exists()
        assert client.get(f"/api/jobs/{slow['id']}/files/vocals").status_code == 409
        assert finished(client, waiting)["state"] == "done"
