"""Small catalogues: a folder of short songs, a tiny model, and a server that speaks S3."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from helpers.models import save_model
from helpers.sounds import mixture
from openunmix.catalogue import Settings, plan, prepare
from openunmix.catalogue.manifest import write_manifest

COMMAND = [sys.executable, "-c", "from openunmix.cli import catalogue; catalogue()"]


def make_songs(folder, count, samples=4000):
    """Write short songs; return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        waveform = mixture(samples, seed=number).T.numpy()
        soundfile.write(folder / f"song-{number:03}.wav", waveform, 8000)
    return folder


def make_catalogue(tmp_path, separator, count, output=None):
    """Write songs, a model and a manifest; return the rows and the settings of a run."""
    rows = plan(make_songs(tmp_path / "songs", count), jobs=2)
    model = save_model(tmp_path / "model", separator)
    write_manifest(tmp_path / "songs.parquet", rows)
    output = os.fspath(tmp_path / "out") if output is None else output
    return rows, prepare(Settings(output, model=os.fspath(model), niter=0))


def stems(folder):
    """Hashes of all stems below a local folder, by path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*.flac"))
        if not path.name.startswith(".part-")
    }


def marks(folder):
    """Times of all marks below a local folder, by path."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("done.json")}


@contextmanager
def s3_server(port, **environment):
    """Run a server that speaks S3, with an empty bucket ``music``; yield its address."""
    for package in ("s3fs", "moto"):
        pytest.importorskip(package)
    variables = os.environ | {name: str(value) for name, value in environment.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/moto-api/")
        request = urllib.request.Request(f"{address}/music", method="PUT")
        with urllib.request.urlopen(request, timeout=30):
            yield address
    finally:
        process.kill()
        process.wait()


def _wait_for(address):
    """Wait until a server answers."""
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=30).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(address)
