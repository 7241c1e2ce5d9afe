"""Speed and memory of training, compared with openunmix 1.3.0 in the same run.

The reference runs in a virtual environment of its own::

    python -m venv reference
    reference/bin/pip install torch==2.13.0 numpy tqdm soundfile
    reference/bin/pip install --no-deps openunmix==1.3.0
    python benchmarks/training.py --reference reference/bin/python

Its training script is not part of that package: the loop here does the same, with the package's
network, transform and dataset. A module that reads WAV files with libsndfile replaces torchaudio.
All contenders read the same files of synthetic tracks, with the same augmentations and sizes, each
in a process of its own, in turns. All times include data loading.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))
from tables import Table, add_save_option, report

RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")
AUGMENTATIONS = ["gain", "channelswap"]


@dataclass(frozen=True)
class Contender:
    """A way to train."""

    title: str
    settings: dict[str, Any] = field(default_factory=dict)


PLAIN = {
    "precision": "float32",
    "fused": False,
    "memory": False,
    "workers": 0,
    "targets": ["vocals"],
}
ALL = {**PLAIN, "precision": "bf16", "fused": True, "memory": True, "workers": 2}
CONTENDERS = {
    "reference": Contender("openunmix 1.3.0"),
    "plain": Contender("Open-Unmix 2, float32, none of the means below", PLAIN),
    "fused": Contender("fused optimiser alone", {**PLAIN, "fused": True}),
    "memory": Contender("freed memory kept, alone", {**PLAIN, "memory": True}),
    "workers": Contender("two workers alone", {**PLAIN, "workers": 2}),
    "bf16": Contender("bfloat16 alone", {**PLAIN, "precision": "bf16"}),
    "float32": Contender("all but bfloat16", {**ALL, "precision": "float32"}),
    "all": Contender("all of them", ALL),
    "joint": Contender("all of them, four targets", {**ALL, "targets": list(STEMS)}),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", help="Python that has openunmix 1.3.0")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument(
        "--steps", type=int, default=6, help="that are timed, after one that is not"
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns of all contenders")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seq-dur", type=float, default=6.0)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    add_save_option(parser)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run all contenders in turn and print the table."""
    args = parser().parse_args()
    if args.worker:
        work = work_reference if args.worker == "reference" else work_ours
        print(json.dumps(work(args)))
        return
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in args.contenders}
    with tempfile.TemporaryDirectory() as folder:
        args.root = folder
        write_songs(Path(folder, "train"), count=6, seconds=5 * args.seq_dur)
        for _ in range(args.repeats):
            for name in args.contenders:
                if name != "reference" or args.reference:
                    runs[name].append(run(name, args))
    caption = (
        f"{machine(args.device)}, {datetime.date.today()}\n\n"
        f"Batches of {args.batch_size} excerpts of {args.seq_dur:g} s, hidden size "
        f"{args.hidden_size}, medians of {args.repeats} turns of {args.steps} steps."
    )
    command = f"benchmarks/training.py --steps {args.steps} --repeats {args.repeats}"
    report("training", command, caption, {"table": measured(runs)}, args.save)
    if runs.get("joint") and runs.get("all"):
        cost = factor(runs["joint"], runs["all"])
        print(f"A step for four targets jointly costs {cost:.2f} times one for a single target.")


def machine(device: str) -> str:
    """Describe the machine and the versions."""
    cpu = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", cpu.read_text() if cpu.exists() else "")
    name = found[1] if found else platform.processor()
    if device != "cpu":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    return (
        f"{name}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def write_songs(folder: Path, count: int, seconds: float) -> None:
    """Write songs as track folders of stems."""
    import numpy as np

    from openunmix.audio import AudioWriter
    from openunmix.data import synthetic_song

    for index in range(count):
        song = synthetic_song(np.random.default_rng(index), round(seconds * RATE), RATE)
        (folder / str(index)).mkdir(parents=True)
        for name, source in song.items():
            with AudioWriter(folder / str(index) / f"{name}.wav", RATE, 2, "16") as writer:
                writer.write(source.numpy())


def run(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Run a contender in a process of its own."""
    python = args.reference if name == "reference" else sys.executable
    options = [str(args.steps), str(args.batch_size), str(args.seq_dur), str(args.hidden_size)]
    names = ["--steps", "--batch-size", "--seq-dur", "--hidden-size"]
    command = [python, __file__, "--worker", name, "--root", args.root, "--device", args.device]
    command += [part for pair in zip(names, options, strict=True) for part in pair]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    print(f"{name}: {result}", file=sys.stderr, flush=True)
    return result


def measured(runs: dict[str, list[dict[str, float]]]) -> Table:
    """Return medians over turns; factors are medians of those of each turn."""
    columns = ["", "excerpts a second", "times 1.3.0", "data loading", "peak GB"]
    table = Table(columns, ["", "{:.2f}", "{:.2f}", "{:.1f} %", "{:.2f}"])
    for name, results in runs.items():
        if results:
            rate = statistics.median(result["rate"] for result in results)
            loading = statistics.median(result["data_loading"] for result in results)
            peak = max(result["peak"] for result in results) / 1e9
            times = factor(runs.get("reference", []), results)
            table.rows.append([CONTENDERS[name].title, rate, times, 100 * loading, peak])
    return table


def factor(slow: list[dict[str, float]], fast: list[dict[str, float]]) -> float | str:
    """Return how many times as fast the second is, as the median over turns."""
    ratios = [b["rate"] / a["rate"] for a, b in zip(slow, fast, strict=False)]
    return statistics.median(ratios) if ratios else "not measured"


def timed(
    batches: Iterator[Any], step: Callable[[Any], object], args: argparse.Namespace
) -> dict[str, float]:
    """Take one step for practice and then those that count."""
    step(next(batches))
    begun, waited = time.perf_counter(), 0.0
    for _ in range(args.steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        step(batch)
    elapsed = time.perf_counter() - begun
    rate = args.steps * args.batch_size / elapsed
    return {"rate": rate, "data_loading": waited / elapsed, "peak": peak_memory(args.device)}


def peak_memory(device: str) -> float:
    """Peak memory in bytes, of the GPU or of this process; 0 where it cannot be told."""
    if device != "cpu":
        return float(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return 1024.0 * int(found[1]) if found else 0.0


def work_ours(args: argparse.Namespace) -> dict[str, float]:
    """Train as ``umx-train`` does."""
    from dataclasses import replace

    from openunmix.data import FixedSourcesTrackFolderDataset, aug_from_str
    from openunmix.training import PRESETS, Trainer
    from openunmix.training.batches import Batches, Examples
    from openunmix.training.parallel import Processes, keep_freed_memory

    settings = CONTENDERS[args.worker].settings
    if settings["memory"]:
        keep_freed_memory()
    config = replace(
        PRESETS["classic"],
        targets=tuple(settings["targets"]),
        architecture=replace(PRESETS["classic"].architecture, hidden_size=args.hidden_size),
        batch_size=args.batch_size,
        duration=args.seq_dur,
        precision=settings["precision"],
    )
    dataset = FixedSourcesTrackFolderDataset(
        args.root,
        target_file="vocals.wav",
        interferer_files=[f"{name}.wav" for name in STEMS[1:]],
        seq_duration=args.seq_dur,
        random_chunks=True,
        random_track_mix=True,
        source_augmentations=aug_from_str(AUGMENTATIONS),
    )
    dataset.tracks = dataset.tracks * 100
    examples = Examples(dataset, config.targets, channels=2)
    is_gpu = args.device != "cpu"
    batches = Batches(
        examples, args.batch_size, workers=settings["workers"], pin_memory=is_gpu
    ).between(0, args.steps + 1)
    trainer = Trainer(config, 1000, processes=Processes(args.device))
    for group in trainer.optimizer.param_groups:
        group["fused"] = settings["fused"]
    return timed(batches, trainer.update, args)


def work_reference(args: argparse.Namespace) -> dict[str, float]:
    """Train as the script of openunmix 1.3.0 does."""
    sys.modules["torchaudio"] = stand_in_for_torchaudio()
    from openunmix import data, model, transforms

    dataset = data.FixedSourcesTrackFolderDataset(
        args.root,
        target_file="vocals.wav",
        interferer_files=[f"{name}.wav" for name in STEMS[1:]],
        seq_duration=args.seq_dur,
        random_chunks=True,
        random_track_mix=True,
        source_augmentations=data.aug_from_str(AUGMENTATIONS),
    )
    dataset.tracks = dataset.tracks * 100
    batches = torch.utils.data.DataLoader(dataset, batch_size=args.batch_size, shuffle=True)
    to_stft, _ = transforms.make_filterbanks(n_fft=4096, n_hop=1024, sample_rate=RATE)
    encoder = torch.nn.Sequential(to_stft, transforms.ComplexNorm(mono=False)).to(args.device)
    network = model.OpenUnmix(2049, 2, args.hidden_size, max_bin=1487).to(args.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)

    def step(batch: list[torch.Tensor]) -> float:
        network.train()
        mixture, target = (waveform.to(args.device) for waveform in batch)
        optimizer.zero_grad()
        estimate = network(encoder(mixture))
        loss = torch.nn.functional.mse_loss(estimate, encoder(target))
        loss.backward()
        optimizer.step()
        return loss.item()

    return timed(iter(batches), step, args)


def stand_in_for_torchaudio() -> types.ModuleType:
    """Return a module that reads files, with what openunmix 1.3.0 asks of torchaudio."""
    import soundfile

    def info(path: str) -> types.SimpleNamespace:
        found = soundfile.info(path)
        return types.SimpleNamespace(
            sample_rate=found.samplerate, num_frames=found.frames, num_channels=found.channels
        )

    def load(path: str, num_frames: int = -1, frame_offset: int = 0) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(
            path, num_frames, frame_offset, dtype="float32", always_2d=True
        )
        return torch.from_numpy(samples.T), rate

    module = types.ModuleType("torchaudio")
    module.get_audio_backend = lambda: "soundfile"  # type: ignore[attr-defined]
    module.info, module.load = info, load  # type: ignore[attr-defined]
    return module


if __name__ == "__main__":
    main()
