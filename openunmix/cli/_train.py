"""The command ``umx-train``: train networks for all targets on folders of stems."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from openunmix.data import (
    MixingConfig,
    MixtureDataset,
    Stem,
    StemLibrary,
    load_stem,
    load_tracks,
)
from openunmix.errors import OpenUnmixError
from openunmix.model import OpenUnmix
from openunmix.training import TrainingConfig, fit
from openunmix.training.export import save_model
from openunmix.training.validation import load_songs, median_scores, separator_of, song_scores

logger = logging.getLogger(__name__)

_DEFAULTS = TrainingConfig()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-train", description="Train Open-Unmix on folders of stems."
    )
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        help="folder with train/ and valid/, each a folder of track folders of stems",
    )
    parser.add_argument("--targets", nargs="+", default=list(_DEFAULTS.targets))
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="TARGET=FOLDER",
        help="folder of audio files that hold this target alone; may be repeated",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="TRACK=TARGET,...",
        help="stems of a training track not to use; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--hidden-size", type=int, default=_DEFAULTS.hidden_size)
    parser.add_argument("--steps", type=int, default=_DEFAULTS.steps)
    parser.add_argument("--batch-size", type=int, default=_DEFAULTS.batch_size)
    parser.add_argument("--seq-dur", type=float, default=_DEFAULTS.duration, help="seconds")
    parser.add_argument("--lr", type=float, default=_DEFAULTS.learning_rate)
    parser.add_argument("--seed", type=int, default=_DEFAULTS.seed)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def settings(args: argparse.Namespace) -> TrainingConfig:
    """Return the training settings that the arguments ask for."""
    return replace(
        _DEFAULTS,
        targets=tuple(args.targets),
        hidden_size=args.hidden_size,
        steps=args.steps,
        batch_size=args.batch_size,
        duration=args.seq_dur,
        learning_rate=args.lr,
        seed=args.seed,
        bfloat16=args.precision == "bf16",
    )


def run(args: argparse.Namespace) -> int:
    """Train; return the exit code."""
    config = settings(args)
    library = StemLibrary(training_stems(args, config), config.targets)
    mixing = MixingConfig(config.duration, config.sample_rate, balance={"drums": 0.5, "bass": -1.0})
    mixtures = MixtureDataset(library, mixing, config.steps * config.batch_size, config.seed)
    songs = load_songs(args.root / "valid", config.targets, config.sample_rate)

    def validate(networks: dict[str, OpenUnmix]) -> dict[str, float]:
        separator = separator_of(networks, config.sample_rate, config.n_fft, config.n_hop)
        return median_scores(song_scores(separator, songs))

    trainer = fit(config, mixtures, args.output, validate, args.device)
    save_model(args.output, trainer)
    return 0


def training_stems(args: argparse.Namespace, config: TrainingConfig) -> list[Stem]:
    """Decode all stems to train with."""
    exclude = {
        track: targets.split(",") for track, _, targets in (e.partition("=") for e in args.exclude)
    }
    stems = load_tracks(args.root / "train", config.targets, config.sample_rate, exclude)
    for target, _, folder in (extra.partition("=") for extra in args.extra):
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        stems += [load_stem(path, path.stem, target, config.sample_rate) for path in files]
    logger.info("decoded %d stems", len(stems))
    return stems


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command = parser()
    args = command.parse_args(argv)
    try:
        return run(args)
    except OpenUnmixError as error:
        logger.error("umx-train: %s", error)
        return 1
