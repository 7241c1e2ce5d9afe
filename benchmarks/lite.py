"""Accuracy, speed and size of the light package, beside `umx` with the same model.

Prints the tables of ``docs/lite.md`` and, with ``--save``, stores them::

    make lite
    python benchmarks/lite.py DATA --minutes 3 20 --save

``DATA`` is a folder of songs with their stems; ``--python`` belongs to an environment with
openunmix-lite and nothing else. Accuracy needs the extra ``onnx``, for the 8-bit model.
"""

from __future__ import annotations

import argparse
import datetime
import math
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

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from tables import Table, add_save_option, save
from tables import main as fill_pages

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
    add_save_option(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, python = Path(name), args.python.absolute()
        tables = {"size": size(python)}
        if args.repeats:
            tables["speed"] = speed(python, folder, args.seconds, args.repeats)
        if args.minutes:
            tables["memory"] = memory(python, folder, args.minutes)
        if args.data:
            tables["accuracy"] = accuracy(python, folder, args.data)
    for key, table in tables.items():
        print(machine(), table.markdown(), sep="\n\n")
        if args.save:
            save(f"lite-{key}", "benchmarks/lite.py", machine(), {"table": table})
    if args.save:
        fill_pages()


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


def size(python: Path) -> Table:
    """Size of the packages installed beside a Python, without pip and setuptools."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    home = Path(_run([python, "-c", code]).strip())
    sizes: dict[str, float] = {}
    for entry in home.iterdir():
        if not entry.name.startswith(("pip", "setuptools", "_distutils", "pkg_resources")):
            files = entry.rglob("*") if entry.is_dir() else [entry]
            sizes[entry.name] = sum(f.stat().st_size for f in files if f.is_file()) / 1e6
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:6]
    rows: list[list[str | float | None]] = [[name, megabytes] for name, megabytes in largest]
    total = ["everything, with the model", sum(sizes.values())]
    return Table(["installed", "MB"], ["", "{:.0f}"], [*rows, total])


def speed(python: Path, folder: Path, seconds: int, repeats: int) -> Table:
    """Wall times of both commands on a file, in turn, and of the first part of the estimates."""
    song = noise_file(folder / "song.wav", seconds)
    commands: dict[str, list[Any]] = {
        "`umx`": [UMX, song, "--model", "umxs", "--outdir", folder / "umx", "--quiet"],
        "`umx-lite`": [lite(python), song, "--outdir", folder / "lite", "--quiet"],
        "light package, to the first estimates": [python, "-c", FIRST, song],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            begun = time.perf_counter()
            _run(command)
            times[name].append(time.perf_counter() - begun)
    title = f"From the start of the process, {seconds} s of stereo, medians of {repeats} turns:"
    rows = [[name, statistics.median(values)] for name, values in times.items()]
    return Table(["", "seconds"], ["", "{:.2f}"], rows, title)


def memory(python: Path, folder: Path, lengths: Sequence[float]) -> Table:
    """Peak memory of the light command for songs of some minutes."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    table = Table(["minutes of stereo", "peak MB"], ["{:g}", "{:.0f}"])
    for minutes in lengths:
        song = noise_file(folder / "long.wav", round(60 * minutes))
        command = [lite(python), song, "--outdir", folder / "long", "--quiet"]
        kibibytes = int(_run([sys.executable, "-c", code, *command]))
        table.rows.append([minutes, kibibytes * 1024 / 1e6])
    return table


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


def accuracy(python: Path, folder: Path, data: Path) -> Table:
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
    return summary(rows)


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


def summary(rows: list[dict[str, Any]]) -> Table:
    """Means over songs by target."""
    table = Table(
        ["", "SDR of `umx`", "change, float16", "change, int8", "difference, float16", "int8"],
        ["", "{:.2f} dB", "{:+.4f} dB", "{:+.3f} dB", "{:.0f} dB", "{:.0f} dB"],
    )
    for target in dict.fromkeys(row["target"] for row in rows):
        # A song without the target has no SDR.
        of_target = [
            row for row in rows if row["target"] == target and math.isfinite(row["sdr umx"])
        ]
        changes = [
            statistics.fmean(row[f"sdr {name}"] - row["sdr umx"] for row in of_target)
            for name in ("float16", "int8")
        ]
        worst = [max(row[f"null {name}"] for row in of_target) for name in ("float16", "int8")]
        sdr = statistics.fmean(row["sdr umx"] for row in of_target)
        table.rows.append([target, sdr, *changes, *worst])
    return table


if __name__ == "__main__":
    main()
