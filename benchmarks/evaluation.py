"""Speed and memory of BSS Eval v4, compared with museval in the same run.

Prints the tables of ``docs/evaluation.md``::

    python benchmarks/evaluation.py

Both score the same four stereo stems with the same number of threads, alternately and each in a
new process; ratios are of consecutive runs. Only the module ``museval.metrics`` is imported, which
needs no ffmpeg program.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))
from tables import Table, add_save_option, report

RATE = 44100


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="seconds for the speed table")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--long", type=int, default=300, help="seconds for the memory")
    add_save_option(parser)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run both alternately and print the tables."""
    args = parser().parse_args()
    if args.worker:
        torch.set_num_threads(args.threads)
        print(json.dumps(WORKERS[args.worker](signals(args.seconds))))
        return
    load = f"load average {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else "load unknown"
    threads = f"{args.threads} thread{'s' * (args.threads > 1)}"
    caption = f"{machine()}, {threads}, {load}, {datetime.date.today()}"
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WORKERS}
    for _ in range(args.repeats):
        for name, results in runs.items():
            results.append(run(name, args.seconds, args.threads))
    pairs = list(zip(runs["museval"], runs["ours"], strict=True))
    ratio = statistics.median(slow["seconds"] / fast["seconds"] for slow, fast in pairs)
    cpu_ratio = statistics.median(slow["cpu"] / fast["cpu"] for slow, fast in pairs)
    columns = [f"{args.seconds} s, four stereo stems", "seconds", "CPU seconds", "peak GB"]
    table = Table(columns, ["", *["{:.2f}"] * 3])
    for name, results in runs.items():
        seconds, cpu = (statistics.median(r[key] for r in results) for key in ("seconds", "cpu"))
        table.rows.append([TITLES[name], seconds, cpu, peak(results)])
    faster = f"times faster, median of {args.repeats} runs"
    table.rows.append([faster, f"{ratio:.1f}", f"{cpu_ratio:.1f}", None])
    command = f"benchmarks/evaluation.py --repeats {args.repeats}"
    report("evaluation", command, caption, {"table": table}, args.save)
    first = pairs[0]
    differences = [abs(a - b) for a, b in zip(first[0]["scores"], first[1]["scores"], strict=True)]
    print(f"\nLargest difference of a median over frames: {max(differences):.1e} dB.\n")
    if args.long:
        result = run("ours", args.long, args.threads)
        print(f"{args.long} s: {result['seconds']:.0f} s, peak {result['peak'] / 1e9:.2f} GB.")


def machine() -> str:
    """Describe the machine and the versions."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*:\s*(.*)", text)
    name = found[1] if found else platform.processor()
    return f"{name}, Python {platform.python_version()}, torch {torch.__version__}"


def peak(results: list[dict[str, Any]]) -> float:
    """Return the largest peak memory in GB."""
    return float(max(result["peak"] for result in results)) / 1e9


def run(worker: str, seconds: int, threads: int) -> dict[str, Any]:
    """Run one implementation in a new process."""
    command = [sys.executable, __file__, "--worker", worker, "--seconds", str(seconds)]
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    output = subprocess.run(
        [*command, "--threads", str(threads)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **limits},
    ).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def signals(seconds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return references, and estimates with interference, filtering and artifacts."""
    torch.manual_seed(0)
    references = 0.1 * torch.randn(4, 2, seconds * RATE)
    estimates = 0.02 * torch.randn(4, 2, seconds * RATE)
    estimates.add_(references, alpha=0.9)
    for target in range(4):
        estimates[target] += 0.2 * references[target - 1].roll(3, -1)
    return references, estimates


def measured(function: Any) -> dict[str, Any]:
    """Call a function; return its result, seconds, CPU seconds and peak memory."""
    start, cpu_start = time.perf_counter(), time.process_time()
    scores = function()
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu_start,
        "peak": peak_memory(),
        "scores": scores,
    }


def peak_memory() -> float:
    """Peak resident memory of this process in bytes; 0 where it is unknown."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return 1024.0 * int(found[1]) if found else 0.0


def work_ours(signals: tuple[torch.Tensor, torch.Tensor]) -> dict[str, Any]:
    """Score with Open-Unmix."""
    from openunmix.evaluate.bss_eval import bss_eval

    return measured(
        lambda: [
            float(value)
            for column in bss_eval(*signals, RATE)
            for value in column.median(dim=-1).values
        ]
    )


def work_museval(signals: tuple[torch.Tensor, torch.Tensor]) -> dict[str, Any]:
    """Score with museval."""
    found = importlib.util.find_spec("museval")
    if found is None or found.origin is None:
        sys.exit("museval is not installed: pip install museval")
    path = Path(found.origin).with_name("metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    metrics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metrics)
    arrays = [signal.double().transpose(1, 2).numpy() for signal in signals]

    def scored() -> list[float]:
        columns = metrics.bss_eval(*arrays, window=RATE, hop=RATE)[:4]
        # torch.median is the lower of two middle values.
        return [float(torch.from_numpy(row).median()) for column in columns for row in column]

    return measured(scored)


WORKERS: dict[str, Any] = {"museval": work_museval, "ours": work_ours}
TITLES = {"museval": "museval 0.4.1", "ours": "Open-Unmix 2"}

if __name__ == "__main__":
    main()
