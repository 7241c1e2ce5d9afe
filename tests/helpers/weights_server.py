"""A server of weights on this machine that behaves as badly as asked, and tiny models for it."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from openunmix.model import Architecture, OpenUnmix
from openunmix.pretrained.config import SeparatorConfig
from openunmix.pretrained.registry import ModelEntry, WeightFile
from openunmix.pretrained.terms import STATED, Terms
from openunmix.transforms.fourier import STFTConfig


def tiny_network(seed=0, **changes):
    """Make a network that is small and different for every seed."""
    arguments = {"nb_bins": 33, "nb_channels": 2, "hidden_size": 8, "max_bin": 24, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OpenUnmix(**arguments)
        for parameter in network.parameters():
            torch.nn.init.uniform_(parameter, 0.1, 0.9)
    return network.eval()


def pickled(state):
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def make_entry(contents, url, name="tiny", **changes):
    """Describe a model whose files have the given contents, per target."""
    files = {}
    for target, content in contents.items():
        prefix = hashlib.sha256(content).hexdigest()[:8]
        files[target] = WeightFile(f"{target}-{prefix}.pth", prefix, len(content))
    fields = {
        "config": SeparatorConfig(STFTConfig(64, 16, 8000.0), 2, Architecture(8, bandwidth=2900.0)),
        "terms": Terms("CC0 1.0", STATED, True, "CC0 1.0", True),
        "trained_on": "nothing",
        "citation": "nobody",
    }
    return ModelEntry(name=name, url=url, files=files, **{**fields, **changes})


@dataclass
class Behaviour:
    """What a server does; counts the requests per path."""

    files: dict = field(default_factory=dict)
    status: int = 200
    redirect: str = ""  # where every request is sent instead
    ranges: bool = True
    cut_after: int | None = None
    cuts: int = 10**9
    delay: float = 0.0
    stall_after: int | None = None
    requests: Counter = field(default_factory=Counter)
    asked_ranges: list = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        plan = self.server.plan
        path = self.path.lstrip("/")
        plan.requests[path] += 1
        plan.asked_ranges.append(self.headers.get("Range"))
        self.server.stopping.wait(plan.delay)
        content = plan.files.get(path)
        if plan.redirect:
            self.send_response(302)
            self.send_header("Location", plan.redirect)
            self.end_headers()
            return
        if plan.status != 200 or content is None:
            self.send_error(plan.status if plan.status != 200 else 404)
            return
        start = self._start(content)
        if start is None:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self._send(content[start:])

    def _start(self, content):
        """Return where the asked range begins, None if it is beyond the file."""
        asked = self.headers.get("Range")
        if not asked or not self.server.plan.ranges:
            return 0
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        return start if start < len(content) else None

    def _send(self, content):
        plan = self.server.plan
        if plan.stall_after is not None:
            self.wfile.write(content[: plan.stall_after])
            self.server.stopping.wait(30)
        elif plan.cut_after is not None and plan.cuts > 0:
            plan.cuts -= 1
            self.wfile.write(content[: plan.cut_after])
        else:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing of clients that went away."""


@contextmanager
def serving(plan):
    """Run a server; gives its URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.plan = plan
        server.stopping = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


@contextmanager
def taking_at_most(seconds):
    """Fail if the block takes longer."""
    begin = time.monotonic()
    yield
    elapsed = time.monotonic() - begin
    assert elapsed < seconds, f"took {elapsed:.1f} s"
