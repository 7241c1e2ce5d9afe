"""Speed and memory of separation, compared with openunmix 1.3.0 in the same run.

Prints the tables of ``docs/performance.md``, and writes them there with ``--save``. The reference
runs in an environment of its own::

    python -m venv reference
    reference/bin/pip install torch==2.13.0 numpy tqdm
    reference/bin/pip install --no-deps openunmix==1.3.0
    python benchmarks/separation.py --reference reference/bin/python

It imports torchaudio without using it, so an empty module replaces that. All contenders have the
same random weights, of the size of ``umxhq``, and take turns.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))
from tables import Table, add_save_option, report

TARGETS = ("vocals", "drums", "bass", "other")
RATE = 44100


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", help="Python that has openunmix 1.3.0")
    parser.add_argument("--seconds", type=int, default=180, help="of audio, for the speed table")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--memory", type=float, nargs="*", default=[180], help="seconds of audio for each row"
    )
    add_save_option(parser)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run all contenders in turn and print the tables."""
    args = parser().parse_args()
    if args.worker:
        print(json.dumps(WORKERS[args.worker](args.seconds, args.weights)))
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder, "weights.pt"))
        save_weights(weights)
        for name, measure in (("speed", speed), ("memory", memory), ("start", start)):
            table = measure(args, weights, Path(folder))
            caption = f"{machine()}, {datetime.date.today()}"
            command = f"benchmarks/separation.py --seconds {args.seconds} --repeats {args.repeats}"
            report(name, command, caption, {"table": table}, args.save)


def machine() -> str:
    """Describe the machine and the versions."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*:\s*(.*)", text)
    name = found[1] if found else platform.processor()
    return (
        f"{name}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def has_bfloat16() -> bool:
    """Whether the processor supports bfloat16; otherwise float32 replaces it."""
    from openunmix.predict._runtime import usable_precision

    return usable_precision("bf16", torch.device("cpu")) == "bf16"


def save_weights(path: str) -> None:
    """Write random weights of the published shapes."""
    from openunmix.model import OpenUnmix

    torch.manual_seed(0)
    torch.save({t: OpenUnmix(2049, 2, 512, max_bin=1487).state_dict() for t in TARGETS}, path)


def speed(args: argparse.Namespace, weights: str, _: Path) -> Table:
    """Measure the time of each contender: medians over turns, and ratios within a turn."""
    contenders = {"float32": sys.executable}
    if has_bfloat16():
        contenders["bf16"] = sys.executable
    if args.reference:
        contenders = {"reference": args.reference, **contenders}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("floor", *contenders)}
    for _ in range(args.repeats):
        runs["floor"].append(run("floor", sys.executable, args.seconds, weights))
        for name, python in contenders.items():
            runs[name].append(run(name, python, args.seconds, weights))
    heading = f"{args.seconds} s of stereo, niter 1"
    columns = [heading, "seconds", "times faster than 1.3.0", "peak GB"]
    table = Table(columns, ["", "{:.2f}", "{:.1f}", "{:.2f}"])
    for name, title in TITLES.items():
        if not runs.get(name):
            continue
        seconds = statistics.median(r["seconds"] for r in runs[name])
        peak = max(r["peak"] for r in runs[name]) / 1e9
        measured = [None, None] if name == "floor" else [ratio_to_reference(runs, name), peak]
        table.rows.append([title, seconds, *measured])
    return table


def ratio_to_reference(runs: dict[str, list[dict[str, float]]], name: str) -> float | str:
    """Median over turns of the reference's time divided by this contender's."""
    pairs = zip(runs.get("reference", []), runs[name], strict=False)
    ratios = [slow["seconds"] / fast["seconds"] for slow, fast in pairs]
    return statistics.median(ratios) if ratios else "not measured"


def memory(args: argparse.Namespace, weights: str, _: Path) -> Table:
    """Measure the peak memory of processes that separate streams of several lengths."""
    columns = ["streamed, float32", "peak GB", "seconds of computing"]
    table = Table(columns, ["", "{:.2f}", "{:.0f}"])
    for seconds in args.memory:
        result = run("stream", sys.executable, int(seconds), weights)
        table.rows.append([f"{seconds / 60:.0f} min", result["peak"] / 1e9, result["seconds"]])
    return table


def start(args: argparse.Namespace, _: str, folder: Path) -> Table:
    """Measure the time of ``umx`` from its start to the first sample written."""
    save_model(folder / "model", folder / "weights.pt")
    write_noise(folder / "song.wav", seconds=60)
    command = [str(Path(sys.executable).with_name("umx")), str(folder / "song.wav"), "--quiet"]
    command += ["--model", str(folder / "model"), "--outdir", str(folder / "out")]
    seconds = []
    for _ in range(args.repeats):
        begun = time.perf_counter()
        process = subprocess.Popen(command)
        # Estimates are spooled in a hidden folder; a header alone is smaller.
        while not any(path.stat().st_size > 1000 for path in folder.glob(".umx-*/*")):
            time.sleep(0.005)
        seconds.append(time.perf_counter() - begun)
        process.kill()
        process.wait()
        for left in folder.glob(".umx-*"):
            shutil.rmtree(left)
    table = Table(["from start to first sample", "seconds"], ["", "{:.2f}"])
    table.rows.append(["60 s of stereo, WAV, weights on disk", statistics.median(seconds)])
    return table


def save_model(folder: Path, weights: Path) -> None:
    """Write the weights as a model folder."""
    from openunmix.pretrained.folder import SeparatorConfig, save_config, save_network

    for target, network in separator(str(weights)).target_models.items():
        save_network(folder, target, network)
    save_config(folder, SeparatorConfig())


def write_noise(path: Path, seconds: int) -> None:
    """Write stereo noise."""
    from openunmix.audio import AudioWriter

    with AudioWriter(path, RATE, 2, "16") as writer:
        writer.write(noise(seconds))


TITLES = {
    "reference": "openunmix 1.3.0",
    "float32": "Open-Unmix 2, float32",
    "bf16": "Open-Unmix 2, bfloat16",
    "floor": "the networks' matrix products alone, float32",
}


def run(worker: str, python: str, seconds: int, weights: str) -> dict[str, float]:
    """Run a contender in a process of its own."""
    command = [python, __file__, "--worker", worker, "--seconds", str(seconds)]
    output = subprocess.run(
        [*command, "--weights", weights], check=True, capture_output=True, text=True
    ).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def measured(function: Any) -> dict[str, float]:
    """Call a function and return the seconds it took and the peak memory of the process."""
    begun = time.perf_counter()
    function()
    return {"seconds": time.perf_counter() - begun, "peak": peak_memory()}


def peak_memory() -> float:
    """Peak resident memory of this process in bytes; 0 where it is unknown."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return 1024.0 * int(found[1]) if found else 0.0


def separator(weights: str) -> Any:
    """Build a separator; works in the environment of the reference, too."""
    from openunmix.model import OpenUnmix, Separator

    networks = {}
    for target, state in torch.load(weights, weights_only=True).items():
        networks[target] = OpenUnmix(2049, 2, 512, max_bin=1487)
        networks[target].load_state_dict(state)
    made = Separator(networks, niter=1)
    made.freeze()
    return made


def work_reference(seconds: int, weights: str) -> dict[str, float]:
    """Separate with openunmix 1.3.0."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    made = separator(weights)
    with torch.no_grad():
        made(noise(5)[None])
        return measured(lambda: made(noise(seconds)[None]))


def work_engine(precision: str, seconds: int, weights: str) -> dict[str, float]:
    """Separate a waveform in memory."""
    from openunmix.predict.stream import StreamConfig, separate_waveform

    made, config = separator(weights), StreamConfig(precision=precision)
    audio = noise(seconds)
    separate_waveform(made, audio[:, : 5 * RATE], config)
    return measured(lambda: separate_waveform(made, audio, config))


def work_stream(seconds: int, weights: str) -> dict[str, float]:
    """Separate a stream that is never wholly in memory."""
    from openunmix.predict.stream import separate_blocks

    def blocks() -> Iterator[torch.Tensor]:
        for _ in range(seconds):
            yield noise(1)

    def consume() -> None:
        for _ in separate_blocks(separator(weights), blocks()):
            pass

    return measured(consume)


def work_floor(seconds: int, weights: str) -> dict[str, float]:
    """Compute as many multiplications as the networks, in plain matrix products."""
    frames = seconds * RATE / 1024
    inputs, hidden, outputs = 2 * 1487, 512, 2 * 2049
    recurrent = 3 * 2 * 4 * (hidden // 2) * (hidden + hidden // 2)
    per_frame = 2 * (inputs * hidden + recurrent + 2 * hidden * hidden + hidden * outputs)
    left, right = torch.randn(4096, 2048), torch.randn(2048, 2048)
    left @ right
    times = max(1, round(4 * frames * per_frame / (2 * 4096 * 2048 * 2048)))

    def products() -> None:
        for _ in range(times):
            left @ right

    return measured(products)


def noise(seconds: int) -> torch.Tensor:
    """Return stereo noise."""
    return 0.1 * torch.randn(2, seconds * RATE)


WORKERS: dict[str, Any] = {
    "reference": work_reference,
    "float32": lambda seconds, weights: work_engine("float32", seconds, weights),
    "bf16": lambda seconds, weights: work_engine("bf16", seconds, weights),
    "stream": work_stream,
    "floor": work_floor,
}

if __name__ == "__main__":
    main()
