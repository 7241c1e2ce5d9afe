"""Speed of separation beside other programs, which this script starts itself.

Prints a table of ``docs/performance.md``: the time of a warm call on audio in memory while none,
one and two processes of the same priority compute. All cases take turns in one process.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from separation import Table, add_save_option, machine, noise, report, save_weights, separator

from openunmix.predict.stream import separate_waveform
from openunmix.pretrained import load_separator


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=180, help="of audio")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1, 2], help="other processes")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    add_save_option(parser)
    args = parser.parse_args()
    torch.manual_seed(0)
    audio = noise(args.seconds)
    columns = [f"{args.seconds} s of stereo, niter 1: seconds beside", "no other process"]
    for count in args.busy[1:]:
        columns += [f"{count} busy", "times as long"]
    table = Table(columns, ["", *["{:.2f}"] * (len(columns) - 1)])
    for name in args.models:
        runs = measure(MODELS[name](), audio, args)
        cells = [statistics.median(runs[0])]
        for others in runs[1:]:
            # Ratios within a turn: the machine's state changes more slowly than turns.
            ratios = [slow / quiet for slow, quiet in zip(others, runs[0], strict=True)]
            cells += [statistics.median(others), statistics.median(ratios)]
        table.rows.append([name, *cells])
    caption = f"{machine()}, {datetime.date.today()}"
    command = f"benchmarks/busy.py --repeats {args.repeats}"
    report("busy", command, caption, {"table": table}, args.save)


def measure(made: Any, audio: torch.Tensor, args: argparse.Namespace) -> list[list[float]]:
    """Seconds of each turn, for each number of busy processes."""
    separate_waveform(made, audio[:, : len(audio[0]) // 10])
    runs: list[list[float]] = [[] for _ in args.busy]
    for _ in range(args.repeats):
        for count, seconds in zip(args.busy, runs, strict=True):
            with busy(count):
                begun = time.perf_counter()
                separate_waveform(made, audio)
                seconds.append(time.perf_counter() - begun)
    return runs


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep as many cores busy, if there are so many."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.2)  # until they compute
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def load_umxs() -> Any:
    """Load ``umxs``, whose targets share a trunk."""
    made = load_separator("umxs")
    made.freeze()
    return made


def random_umxhq() -> Any:
    """Build networks of the size of ``umxhq`` with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "weights.pt"))
        save_weights(path)
        return separator(path)


MODELS: dict[str, Any] = {"umxs": load_umxs, "umxhq-shapes": random_umxhq}

if __name__ == "__main__":
    main()
