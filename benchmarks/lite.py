"""Accuracy, speed and size of the light package, beside `umx` with the same model.

Prints the tables of ``docs/lite.md`` and, with ``--json FILE``, stores the figures::

    make lite
    python benchmarks/lite.py DATA --python build/lite/bin/python --json docs/lite.json

``DATA`` is a folder of songs with their stems; ``--python`` belongs to an environment with
openunmix-lite and nothing else. Accuracy needs the extra ``onnx``, for the 8-bit model.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

import openunmix
from openunmix.data.tracks import find_tracks
from openunmix.evaluate.metrics import sdr_mdx21

ROOT = Path(__file__).parents[1]
UMX = Path(sys.executable).with_name("umx")
# Yields one part of the estimates, and ends.
FIRST = """
import sys, soundfile
from openunmix_lite import Model, separate_blocks
file = soundfile.SoundFile(sys.argv[1])
blocks = (block.T for block in file.blocks(65536, dtype="float32", always_2d=True))
print(next(separate_blocks(Model(), blocks)).shape, flush=True)
import os; os._exit(0)
"""


def main() -> None:
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="songs with stems, for the accuracy")
    parser.add_argument("--python", type=Path, default=Path("build/lite/bin/python"))
    parser.add_argument("--seconds", type=int, default=60, help="of audio, for the speed")
    parser.add_argument("--repeats", type=int, default=3, help="runs for medians; 0 for no speed")
    parser.add_argument("--minutes", type=float, nargs="*", default=[], help="lengths for memory")
    parser.add_argument("--json", type=Path, help="file for the figures; those there are kept")
    args = parser.parse_args()
    figures: dict[str, Any] = {}
    if args.json and args.json.exists():
        figures = json.loads(args.json.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures["size"] = size(args.python)
        if args.repeats:
            figures["speed"] = speed(args.python, folder, args.seconds, args.repeats)
        if args.minutes:
            figures["memory"] = [memory(args.python, folder, minutes) for minutes in args.minutes]
        if args.data:
            figures["accuracy"] = accuracy(args.python, folder, args.data)
    print_tables(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def machine() -> str:
    """Describe the machine and the versions."""
    names = [line for line in _cpuinfo().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = f"Python {platform.python_version()}, Open-Unmix {openunmix.__version__}"
    return f"{name}, {cores} cores, {versions}, torch {torch.__version__}, {datetime.date.today()}"


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def size(python: Path) -> dict[str, Any]:
    """Size of the packages installed beside a Python, in MB, without pip and setuptools."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    home = Path(_run([python, "-c", code]).strip())
    largest: dict[str, float] = {}
    for entry in home.iterdir():
        if entry.name.startswith(("pip", "setuptools", "_distutils", "pkg_resources")):
            continue
        files = [entry] if entry.is_file() else [f for f in entry.rglob("*") if f.is_file()]
        largest[entry.name] = sum(file.stat().st_size for file in files) / 1e6
    parts = sorted(largest.items(), key=lambda item: -item[1])
    return {"total": sum(largest.values()), "largest": dict(parts[:6])}


def speed(python: Path, folder: Path, seconds: int, repeats: int) -> dict[str, Any]:
    """Wall times of both commands on a file, in turn, and of the first part of the estimates."""
    song = noise_file(folder / "song.wav", seconds)
    commands: dict[str, list[Any]] = {
        "umx": [UMX, song, "--model", "umxs", "--outdir", folder / "umx", "--quiet"],
        "umx-lite": [lite(python), song, "--outdir", folder / "lite", "--quiet"],
        "first": [python, "-c", FIRST, song],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            begun = time.perf_counter()
            _run(command)
            times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"seconds": seconds, "repeats": repeats, "medians": medians, "machine": machine()}


def memory(python: Path, folder: Path, minutes: float) -> dict[str, float]:
    """Peak memory of the light command, in MB, for a song of some minutes."""
    song = noise_file(folder / "long.wav", round(60 * minutes))
    command = [lite(python), song, "--outdir", folder / "long", "--quiet", "--targets", "vocals"]
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    peak = int(_run([sys.executable, "-c", code, *command]))
    return {"minutes": minutes, "peak": peak * 1024 / 1e6}  # Linux counts KiB


def noise_file(path: Path, seconds: int) -> Path:
    """Write stereo noise, whose spectrum falls like that of music."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
        for _ in range(seconds):
            file.write(0.02 * np.cumsum(rng.uniform(-1, 1, (44100, 2)), axis=0) % 1 * 0.2)
    return path


def lite(python: Path) -> Path:
    """Return the command beside a Python."""
    return python.with_name("umx-lite")


def accuracy(python: Path, folder: Path, data: Path) -> dict[str, Any]:
    """Differences from `umx`, and changes of the SDR, means over songs."""
    int8 = folder / "umxs-int8.onnx"
    _run([sys.executable, ROOT / "lite" / "build_model.py", int8, "int8"])
    contenders: dict[str, list[Any]] = {
        "umx": [UMX, "--model", "umxs"],
        "float16": [lite(python)],
        "int8": [lite(python), "--model", int8],
    }
    rows: list[dict[str, Any]] = []
    for track in find_tracks(data):
        audio = track.read()
        stems = audio.sources
        song = folder / "mixture.wav"
        soundfile.write(song, audio.mixture.T.numpy(), audio.sample_rate, subtype="FLOAT")
        found = {}
        for name, command in contenders.items():
            _run([*command, song, "--outdir", folder / name, "--quiet"])
            found[name] = {
                target: _read(folder / name / "mixture" / f"{target}.wav") for target in stems
            }
        rows += [_row(track.name, target, stem, found) for target, stem in stems.items()]
        print(track.name, file=sys.stderr)
    return {"songs": len({row["song"] for row in rows}), "rows": rows, "machine": machine()}


def _row(song: str, target: str, stem: Any, found: dict[str, Any]) -> dict[str, Any]:
    """SDR of all contenders for a target of a song, and their difference from `umx` in dB."""
    row: dict[str, Any] = {"song": song, "target": target}
    reference = found["umx"][target]
    for name, estimates in found.items():
        estimate = estimates[target]
        row[f"sdr {name}"] = round(float(sdr_mdx21(stem, estimate)), 4)
        if name != "umx":
            error = (estimate - reference).double().square().sum()
            row[f"null {name}"] = round(
                float(10 * torch.log10(error / reference.square().sum())), 1
            )
    return row


def _read(path: Path) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T)


def _run(command: Sequence[Any]) -> str:
    """Run a command; return its standard output."""
    return subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def print_tables(figures: dict[str, Any]) -> None:
    """Print all tables in Markdown."""
    installed = figures["size"]
    print("| installed | MB |\n|---|---|")
    for name, megabytes in installed["largest"].items():
        print(f"| {name} | {megabytes:.0f} |")
    print(f"| **everything** | **{installed['total']:.0f}** |")
    if "speed" in figures:
        measured = figures["speed"]
        print(f"\n{measured['machine']}; medians of {measured['repeats']} runs in turn\n")
        print(f"| {measured['seconds']} s of stereo, from start to end of the process | seconds |")
        print("|---|---|")
        for name in ("umx", "umx-lite"):
            print(f"| `{name}` | {measured['medians'][name]:.2f} |")
        print(f"| to the first estimates, light package | {measured['medians']['first']:.2f} |")
    if "memory" in figures:
        print("\n| minutes of stereo | peak MB |\n|---|---|")
        for row in figures["memory"]:
            print(f"| {row['minutes']:g} | {row['peak']:.0f} |")
    if "accuracy" in figures:
        print_accuracy(figures["accuracy"])


def print_accuracy(measured: dict[str, Any]) -> None:
    """Print means over songs by target."""
    print(f"\n{measured['songs']} songs, {measured['machine']}\n")
    print("| | SDR of `umx` | change, float16 | change, int8 | worst difference, float16 | int8 |")
    print("|---|---|---|---|---|---|")
    for target in dict.fromkeys(row["target"] for row in measured["rows"]):
        rows = [row for row in measured["rows"] if row["target"] == target]
        sdr = statistics.fmean(row["sdr umx"] for row in rows)
        changes = [
            statistics.fmean(row[f"sdr {name}"] - row["sdr umx"] for row in rows)
            for name in ("float16", "int8")
        ]
        nulls = [max(row[f"null {name}"] for row in rows) for name in ("float16", "int8")]
        print(
            f"| {target} | {sdr:.2f} dB | {changes[0]:+.4f} dB | {changes[1]:+.3f} dB | "
            f"{nulls[0]:.0f} dB | {nulls[1]:.0f} dB |"
        )


if __name__ == "__main__":
    main()
