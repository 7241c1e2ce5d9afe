"""Accuracy and speed of the page that separates in the browser, against the package.

::

    python benchmarks/browser.py accuracy data/valid --save
    python benchmarks/browser.py speed song.wav --save

Prints the tables of ``docs/browser.md``, after ``make site``; ``--save`` stores them. Accuracy is
that of the page's pipeline in Node, which computes as Chromium does; a folder is a track with
stems, or contains such tracks. Speed is that of the package, of Node, and of the page itself in
Chromium and Firefox.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from accuracy import find_songs
from separation import Table, add_save_option, machine, report
from torch import Tensor

from openunmix.audio import read_audio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.predict.stream import separate_waveform
from openunmix.pretrained import load_separator

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
PRECISIONS = ("int8", "float16")


def main() -> None:
    """Measure one of the tables, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=["accuracy", "speed"])
    parser.add_argument("paths", type=Path, nargs="+", help="folders of songs, or one song")
    add_save_option(parser)
    args = parser.parse_args()
    if not (SITE / "index.html").exists():
        sys.exit("build/site is missing: make site")
    torch.set_num_threads(1)
    table = accuracy(args.paths) if args.table == "accuracy" else speed(args.paths[0])
    caption = f"{machine()}, {datetime.date.today()}"
    tables = {"table": table}
    report(f"browser-{args.table}", "benchmarks/browser.py", caption, tables, args.save)


def in_node(mixture: Tensor, precision: str) -> tuple[Tensor, float]:
    """Estimates (targets, 2, samples) of the page's pipeline, and seconds of separating."""
    with tempfile.TemporaryDirectory() as name:
        source, result = Path(name, "mixture.f32"), Path(name, "estimates.f32")
        mixture.numpy().astype("<f4").tofile(source)
        script = ["node", str(ROOT / "browser" / "separate.js")]
        files = [SITE / f"umxs-{precision}.onnx", SITE / "site.json", source, result]
        done = subprocess.run([*script, *map(str, files)], stdout=subprocess.PIPE, check=True)
        estimates = np.fromfile(result, "<f4").reshape(-1, *mixture.shape)
    return torch.from_numpy(estimates), json.loads(done.stdout)["seconds"]


def accuracy(folders: list[Path]) -> Table:
    """SDR of every target by the package, and what the page changes."""
    separator = load_separator("umxs", niter=1)
    targets = list(separator.target_models)
    songs = [song for folder in folders for song in find_songs(folder, targets)]
    scores: dict[str, list[Tensor]] = {name: [] for name in ("package", *PRECISIONS)}
    for song in songs:
        scores["package"].append(
            sdr_mdx21(song.stacked, separate_waveform(separator, song.mixture))
        )
        for precision in PRECISIONS:
            scores[precision].append(sdr_mdx21(song.stacked, in_node(song.mixture, precision)[0]))
    means = {name: torch.stack(values).nanmean(dim=0) for name, values in scores.items()}
    changes = {name: means[name] - means["package"] for name in PRECISIONS}
    rows = [
        [target, means["package"][i].item(), *(change[i].item() for change in changes.values())]
        for i, target in enumerate(targets)
    ]
    columns = ["", "package, float32", *(f"page, {name}" for name in PRECISIONS)]
    title = f"SDR, mean of {len(songs)} songs, and its change:"
    return Table(columns, ["", "{:.2f} dB", *["{:+.3f} dB"] * len(PRECISIONS)], rows, title)


def speed(song: Path) -> Table:
    """Measure the speed of the package and the page in one thread, in times real time."""
    audio = read_audio(song).waveform
    seconds = audio.shape[-1] / 44100
    separator = load_separator("umxs", niter=1)
    separate_waveform(separator, audio[:, : 10 * 44100])
    begun = time.perf_counter()
    separate_waveform(separator, audio)
    speeds = {"package, torch, float32": seconds / (time.perf_counter() - begun)}
    for precision in PRECISIONS:
        speeds[f"Node, {precision}"] = seconds / in_node(audio, precision)[1]
    with serving() as url:
        for browser in ("chromium", "firefox"):
            for precision in PRECISIONS:
                page = f"{url}?precision={precision}"
                name = f"{browser.capitalize()}, {precision}"
                speeds[name] = speed_in_browser(browser, page, song)
    columns = [f"{seconds:.0f} s of stereo, one thread", "times real time"]
    return Table(columns, ["", "{:.1f}"], [[name, value] for name, value in speeds.items()])


@contextmanager
def serving() -> Iterator[str]:
    """Serve the page; give its address."""
    handler = partial(QuietHandler, directory=SITE)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """A static server that logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def speed_in_browser(name: str, url: str, song: Path) -> float:
    """Return the speed, in times real time, that the page itself reports below the player."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.browsers import OPTIONS, PROGRAMS

    program = next(filter(None, map(shutil.which, PROGRAMS[name])))
    with sync_playwright() as driver:
        browser = getattr(driver, name).launch(executable_path=program, **OPTIONS[name])
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(url)
        page.locator("#files:enabled").wait_for(state="attached")
        page.set_input_files("#files", song)
        page.locator("#result").wait_for()
        text = page.frame_locator("#player").locator("#details").inner_text()
        browser.close()
    found = re.search(r"at ([\d.]+) times real time", text)
    assert found, text
    return float(found[1])


if __name__ == "__main__":
    main()
