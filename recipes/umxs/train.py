"""Train umxs: ``python train.py DATA PACKAGES SUNG OUTPUT``. Started again, it goes on.

DATA and PACKAGES are those of ``README.md``, SUNG is what ``sing.py`` made. OUTPUT gets a model
folder for every number of steps in ``--keep``, and ``checkpoint/``.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch
from mixer import TARGETS, Mixer

from openunmix.data.stems import Stem, load_files, load_tracks
from openunmix.training import Example, TrainingConfig
from openunmix.training.batches import Examples
from openunmix.training.checkpoint import find_state, load_state, save_model, save_state, state_file
from openunmix.training.parallel import Processes
from openunmix.training.trainer import Trainer

# How often each kind of stems is drawn. In four songs the bass sounds inside other or drums.
_SHARES = {
    "vocals": {"songs": 0.5, "solo": 0.25, "mir1k": 0.13, "sung": 0.12},
    "drums": {"songs": 0.6, "drums": 0.25, "tunes": 0.15},
    "bass": {"songs": 0.6, "bass": 0.2, "tunes": 0.2},
    "other": {"songs": 0.6, "other": 0.15, "tunes": 0.25},
}
_NO_BASS = {f"eif-{name}": TARGETS[2:] for name in ("Hydrogen", "Potassium", "Rubidium", "Caesium")}
_EVERY = 200  # steps between records and checkpoints


def main() -> None:
    """Train until all steps are done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "packages", "sung", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=11_000)
    parser.add_argument("--keep", type=int, nargs="*", default=[5_200, 7_800, 11_000])
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--hidden-size", type=int, default=448)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    config = TrainingConfig(
        targets=TARGETS,
        shared=True,
        hidden_size=args.hidden_size,
        compression=0.25,
        batch_size=args.batch_size,
        steps=args.steps,
        learning_rate=1.5e-3,
        schedule="cosine",
        warmup=200,
        dropout=0.3,
        equalise=3.5,
        ema_decay=0.999,
    )
    train(config, all_stems(args.data, args.packages, args.sung), args)


def all_stems(data: Path, packages: Path, sung: Path) -> dict[str, dict[str, list[Stem]]]:
    """Decode everything: stems by target and kind."""
    rate = TrainingConfig.sample_rate
    songs = load_tracks(data / "train", TARGETS, rate, _NO_BASS)
    tunes = load_tracks(packages / "train", TARGETS[1:], rate)
    stems: dict[str, dict[str, list[Stem]]] = {
        target: {
            "songs": [stem for stem in songs if stem.target == target],
            "tunes": [stem for stem in tunes if stem.target == target],
        }
        for target in TARGETS
    }
    solo = [data / "vocals" / name for name in ("gtsinger", "m4singer")]
    stems["vocals"]["solo"] = [s for path in solo for s in load_files(path, "vocals", rate)]
    stems["vocals"]["mir1k"] = load_files(data / "vocals" / "mir1k", "vocals", rate)
    stems["vocals"]["sung"] = load_files(sung, "vocals", rate)
    for target in TARGETS[1:]:
        stems[target][target] = load_files(packages / target, target, rate)
    return stems


def train(
    config: TrainingConfig, stems: dict[str, dict[str, list[Stem]]], args: argparse.Namespace
) -> None:
    """Train, or go on, and write what is to be kept."""
    trainer = Trainer(config, config.steps, processes=Processes(args.device))
    found = find_state(args.output)
    if found is not None:
        trainer.load_state_dict(load_state(found))
    # A run that goes on draws other mixtures than those it has had.
    seed = config.seed + trainer.step
    mixer = Mixer(stems, _SHARES, config.duration, trainer.device, seed)
    if found is None:
        first = mixer.batch(config.batch_size).to(torch.device("cpu"))
        examples = [Example(*pair) for pair in zip(first.mixture, first.sources, strict=True)]
        trainer.fit_input_normalisation(Examples(examples, TARGETS, config.nb_channels))
    begun, begin = time.monotonic(), trainer.step
    while trainer.step < config.steps:
        losses = trainer.update(mixer.batch(config.batch_size))
        step = trainer.step
        if step in args.keep:
            save_model(args.output / str(step), trainer)
        if step % _EVERY == 0 or step == config.steps:
            save_state(state_file(args.output), {**trainer.state_dict(), "history": {}})
            rate = (step - begin) / (time.monotonic() - begun)
            shown = ", ".join(f"{target} {loss:.4f}" for target, loss in losses.items())
            logging.info("step %d, %.2f a second: %s", step, rate, shown)


if __name__ == "__main__":
    main()
