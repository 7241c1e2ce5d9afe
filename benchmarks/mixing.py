"""Measure what mixing costs beside a training step: ``python benchmarks/mixing.py``.

Stems are noise; the settings are those of ``umx-train --root`` with four shared networks, and then
with effects. On the CPU the processor's time is taken, on a GPU the elapsed time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import mean

import torch

from openunmix.data import EFFECTS, Mixer, MixingConfig
from openunmix.data.stems import Stem, StemLibrary
from openunmix.training import PRESETS, Trainer
from openunmix.training.parallel import Processes, keep_freed_memory

_EFFECTS = {"vocals": EFFECTS["voice"], "other": EFFECTS["band"]}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--tracks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    keep_freed_memory(args.device)
    preset = PRESETS["stems"]
    architecture = replace(preset.architecture, shared=True, hidden_size=args.hidden_size)
    config = replace(preset, architecture=architecture, batch_size=args.batch_size)
    stems = library(config.targets, args.tracks)
    trainer = Trainer(config, 1000, processes=Processes(args.device))
    print("| mixing | a step of mixing | a step of training | share | excerpts/s |")
    print("|---|---|---|---|---|")
    for name, mixing in (
        ("default", MixingConfig()),
        ("`--effects vocals=voice other=band`", MixingConfig(effects=_EFFECTS)),
    ):
        samples = round(config.duration * config.stft.sample_rate)
        mixer = Mixer(stems, mixing, config.targets, samples, config.batch_size).to(args.device)
        batch = mixer.batch(0)
        trained = min(timed(partial(trainer.update, batch), args.device) for _ in range(args.steps))
        # Batches differ in what they take. Of each the shortest time, as other work only adds.
        mixed = mean(
            min(timed(partial(mixer.batch, step), args.device) for _ in range(args.repeats))
            for step in range(args.steps)
        )
        print(
            f"| {name} | {1e3 * mixed:.0f} ms | {1e3 * trained:.0f} ms | {mixed / trained:.1%} | "
            f"{config.batch_size / mixed:.0f} |"
        )


def library(targets: tuple[str, ...], tracks: int) -> StemLibrary:
    """Make stereo stems of a minute of noise."""
    waveform = torch.randint(-3000, 3000, (2, 60 * 44100), dtype=torch.int16)
    stems = [
        Stem(f"track{number}", target, waveform, 0.05)
        for number in range(tracks)
        for target in targets
    ]
    return StemLibrary(stems, targets)


def timed(action: Callable[[], object], device: str) -> float:
    """Seconds that an action takes."""
    if device == "cpu":
        begun = time.process_time()
        action()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
