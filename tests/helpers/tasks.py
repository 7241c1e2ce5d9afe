"""Stand-ins for the separation in the worker's process: what they do is in the name of the file."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

__all__ = ["act", "echo"]


def act(request, report):
    """Make results of a track, unless its name asks for something else."""
    folder, kind = Path(request["folder"]), request["name"].split(".")[0]
    report(stage="separating", seconds=0.0)
    time.sleep(0.02)
    report(stage="separating", seconds=0.5)
    (folder / "page").mkdir(parents=True)
    (folder / "vocals.wav").write_bytes(b"half of the vocals")
    if kind == "slow":
        (folder / "process").write_text(str(os.getpid()), "utf-8")
        time.sleep(60)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "ended":
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "once" and not (tried := Path(request["upload"]).with_name("tried")).exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "allocation":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    if kind == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if kind == "bug":
        raise RuntimeError("a bug")
    if kind == "short":
        time.sleep(0.2)
    (folder / "vocals.wav").write_bytes(b"all of the vocals")
    (folder / "page" / "index.html").write_text("<p>player</p>", "utf-8")
    (folder / "page" / "index-audio-0.js").write_text("0", "utf-8")
    return {
        "model": "tiny",
        "licence": "free",
        "files": {"vocals": "vocals.wav"},
        "page": ["index-audio-0.js", "index.html"],
        "duration": 1.0,
        "notes": [],
    }


def echo(request, report):
    """Return the request, after reporting it and the process."""
    report(**request)
    return {"request": request, "process": os.getpid()}
