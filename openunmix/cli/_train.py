"""The command ``umx-train``: train networks for all targets on folders of stems."""

from __future__ import annotations

import argparse
import logging
import pickle
import sys
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
from openunmix.errors import AudioFileError, CheckpointError, OpenUnmixError
from openunmix.model import OpenUnmix
from openunmix.training import TrainingConfig, fit
from openunmix.training.export import save_model
from openunmix.training.loop import load_state
from openunmix.training.validation import load_songs, median_scores, separator_of, song_scores

__all__ = ["main", "parser", "run"]

logger = logging.getLogger(__name__)

_DEFAULTS = TrainingConfig()

# What a run that is resumed must have in common with the one that was interrupted.
_SHAPE = ("targets", "hidden_size", "unidirectional", "n_fft", "n_hop", "bandwidth")


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
        type=_pair,
        default=[],
        metavar="TARGET=FOLDER",
        help="folder of audio files that hold this target alone; may be repeated",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        type=_pair,
        default=[],
        metavar="TRACK=TARGET,...",
        help="stems of a training track not to use; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--hidden-size", type=int, default=_DEFAULTS.hidden_size)
    parser.add_argument("--nfft", type=int, default=_DEFAULTS.n_fft, help="samples of a window")
    parser.add_argument("--nhop", type=int, default=_DEFAULTS.n_hop, help="samples between windows")
    parser.add_argument("--bandwidth", type=float, default=_DEFAULTS.bandwidth, help="Hz")
    parser.add_argument("--unidirectional", action="store_true", help="look only at the past")
    parser.add_argument("--steps", type=int, default=_DEFAULTS.steps)
    parser.add_argument("--batch-size", type=int, default=_DEFAULTS.batch_size)
    parser.add_argument("--seq-dur", type=float, default=_DEFAULTS.duration, help="seconds")
    parser.add_argument("--lr", type=float, default=_DEFAULTS.learning_rate)
    parser.add_argument("--seed", type=int, default=_DEFAULTS.seed)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _pair(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def settings(args: argparse.Namespace) -> TrainingConfig:
    """Return the training settings that the arguments ask for; ValueError if they cannot work."""
    for name in (
        "hidden_size",
        "nfft",
        "nhop",
        "bandwidth",
        "steps",
        "batch_size",
        "seq_dur",
        "lr",
    ):
        if not getattr(args, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be positive")
    if args.hidden_size % 2 and not args.unidirectional:
        raise ValueError(f"--hidden-size {args.hidden_size} must be even, or --unidirectional")
    if args.nhop > args.nfft // 2 or args.nfft % 2:
        raise ValueError(f"--nfft {args.nfft} must be even and at least twice --nhop {args.nhop}")
    unknown = {target for target, _ in args.extra} - set(args.targets)
    if unknown:
        raise ValueError(f"--extra: {sorted(unknown)} are not among the targets {args.targets}")
    return replace(
        _DEFAULTS,
        targets=tuple(dict.fromkeys(args.targets)),
        hidden_size=args.hidden_size,
        unidirectional=args.unidirectional,
        n_fft=args.nfft,
        n_hop=args.nhop,
        bandwidth=args.bandwidth,
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
    _check_resumed(args.output / "training.chkpnt", config)
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


def _check_resumed(checkpoint: Path, config: TrainingConfig) -> None:
    """Raise if there is a run to resume whose networks are others."""
    if not checkpoint.exists():
        return
    try:
        before = load_state(checkpoint)["config"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{checkpoint} is damaged; remove it to train anew") from error
    wanted = config.to_json()
    changed = [name for name in _SHAPE if before[name] != wanted[name]]
    if changed:
        old = ", ".join(f"{name}={before[name]}" for name in changed)
        raise ValueError(f"{checkpoint} is of a run with {old}; use the same, or another --output")


def training_stems(args: argparse.Namespace, config: TrainingConfig) -> list[Stem]:
    """Decode all stems to train with."""
    exclude = {track: targets.split(",") for track, targets in args.exclude}
    stems = load_tracks(args.root / "train", config.targets, config.sample_rate, exclude)
    for target, folder in args.extra:
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        if not files:
            raise AudioFileError(f"{folder}: no files found; give a folder of audio files")
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
        print(f"umx-train: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        command.error(str(error))
    except KeyboardInterrupt:
        print("umx-train: interrupted; the same command goes on", file=sys.stderr)
        return 130
