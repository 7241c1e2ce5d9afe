"""Throughput of ``umx-catalogue`` in 1, 2 and 4 processes and in Ray, and the costs.

Prints the tables of ``docs/catalogue.md``. Prices are options: assumptions. Ray is left out
where it is not installed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from separation import RATE, machine, noise

from openunmix.audio import AudioWriter
from openunmix.catalogue import Settings, plan, prepare
from openunmix.catalogue._ray import separate_with_ray
from openunmix.catalogue.processes import separate_in_processes


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=60, help="of audio in each song")
    parser.add_argument("--model", default="umxs")
    parser.add_argument(
        "--length", type=float, default=240, help="seconds of a song of a catalogue"
    )
    parser.add_argument("--cores", type=int, default=64, help="cores of a machine in the cloud")
    parser.add_argument("--core-price", type=float, default=0.015, help="dollars a core hour, spot")
    parser.add_argument("--gpu-price", type=float, default=0.50, help="dollars a GPU hour, spot")
    parser.add_argument(
        "--gpu-speed",
        type=float,
        nargs="*",
        default=[25, 50, 100],
        help="cores that a GPU replaces",
    )
    args = parser.parse_args()
    print(f"{machine()}, {datetime.date.today()}; {args.songs} songs of {args.seconds} s\n")
    with tempfile.TemporaryDirectory() as folder:
        per_second = throughput(args, Path(folder))
    costs(args, per_second)


def throughput(args: argparse.Namespace, folder: Path) -> float:
    """Print the first table; return core seconds for a second of audio."""
    torch.manual_seed(0)
    (folder / "songs").mkdir()
    for number in range(args.songs):
        with AudioWriter(folder / f"songs/{number}.flac", RATE, 2) as writer:
            writer.write(noise(args.seconds))
    rows = plan(folder / "songs")
    settings = prepare(Settings(str(folder), model=args.model))
    print("| executor | seconds in all | seconds a song, median | hours of audio an hour |")
    print("|---|---|---|---|")
    alone = 0.0
    cases = [f"{count} process{'es' * (count > 1)}" for count in (1, 2, 4)]
    for case in [*cases, *(["Ray, 2 processes"] if importlib.util.find_spec("ray") else [])]:
        own = replace(settings, output=str(folder / case))
        count = 2 if case.startswith("Ray") else int(case[0])
        begun = time.perf_counter()
        if case.startswith("Ray"):
            records = list(separate_with_ray(rows, own, None, count))
        else:
            records = list(separate_in_processes(rows, own, count))
        elapsed = time.perf_counter() - begun
        assert all(record["status"] == "done" for record in records), records
        median = statistics.median(record["seconds"] for record in records)
        speed = args.songs * args.seconds / elapsed
        print(f"| {case} | {elapsed:.1f} | {median:.2f} | {speed:.1f} |", flush=True)
        if case == "2 processes":  # each on a core of its own, beside the other
            alone = median / args.seconds
    return alone


def costs(args: argparse.Namespace, per_second: float) -> None:
    """Print the second table."""
    hours = 1_000_000 * args.length / 3600
    core_hours = hours * per_second
    print(f"\n{hours:.0f} h of audio, {core_hours:.0f} core hours\n")
    print("| machine | hours of one | hours of 100 | dollars |")
    print("|---|---|---|---|")
    one = core_hours / args.cores
    price = core_hours * args.core_price
    print(f"| {args.cores} cores, spot | {one:.0f} | {one / 100:.1f} | {price:.0f} |")
    for speed in args.gpu_speed:
        one = core_hours / speed
        name = f"a GPU as fast as {speed:.0f} cores (assumed), spot"
        print(f"| {name} | {one:.0f} | {one / 100:.1f} | {one * args.gpu_price:.0f} |")


if __name__ == "__main__":
    main()
