"""Inspect a dataset: ``python -m openunmix.data --dataset NAME --root FOLDER ...``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from openunmix.audio import AudioWriter
from openunmix.data.base import UnmixDataset
from openunmix.data.factory import DATASETS, load_datasets
from openunmix.errors import OpenUnmixError


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the options of all datasets."""
    parser = argparse.ArgumentParser(
        prog="python -m openunmix.data",
        description="Read all items of a dataset and report their number, duration and level.",
        epilog="Each dataset has more options: --dataset NAME --help.",
        add_help=False,
    )
    parser.add_argument("--dataset", default="musdb", choices=DATASETS)
    parser.add_argument("--root", help="folder of the dataset")
    parser.add_argument(
        "--save",
        nargs="?",
        const="test",
        metavar="FOLDER",
        help="write items as wav files, 0x.wav and 0y.wav ..., to this folder (test)",
    )
    parser.add_argument("--target", default="vocals")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--audio-backend", default="soundfile", help=argparse.SUPPRESS)
    parser.add_argument("--seq-dur", type=float, default=5.0, help="seconds; 0 for whole tracks")
    parser.add_argument("--batch-size", type=int, default=16)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the inspector with ``argv``, by default ``sys.argv[1:]``; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = _parser()
    known, _ = parser.parse_known_args(argv)
    parser.add_argument("-h", "--help", action="help", help="show this list")
    try:
        datasets = load_datasets(parser, known, argv)
        _inspect(datasets.train, datasets.valid, datasets.args)
    except OpenUnmixError as error:
        sys.stderr.write(f"openunmix.data: {error}\n")
        return 1
    except ValueError as error:
        parser.error(str(error))
    return 0


def _inspect(train: UnmixDataset, valid: UnmixDataset, args: argparse.Namespace) -> None:
    """Report the content of the datasets and the shape of a batch."""
    _say(repr(train))
    _say(repr(valid))
    if args.save is not None:
        Path(args.save).mkdir(parents=True, exist_ok=True)
    seconds, levels = 0.0, []
    for index in range(len(train)):
        mixture, target = train[index]
        seconds += mixture.shape[-1] / train.sample_rate
        levels.append(torch.stack([mixture.square().mean(), target.square().mean()]))
        if args.save is not None:
            for kind, waveform in (("x", mixture), ("y", target)):
                path = Path(args.save, f"{index}{kind}.wav")
                with AudioWriter(path, round(train.sample_rate), len(waveform)) as writer:
                    writer.write(waveform.numpy())
    mixture_level, target_level = (10 * torch.stack(levels).mean(dim=0).log10()).tolist()
    _say(f"Total training duration (h): {seconds / 3600:.3f}")
    _say(f"Number of train samples: {len(train)}")
    _say(f"Number of validation samples: {len(valid)}")
    _say(f"Level of mixtures: {mixture_level:.1f} dB, of targets: {target_level:.1f} dB")
    batch_size = args.batch_size if args.seq_dur > 0 else 1
    generator = torch.Generator().manual_seed(args.seed)
    batch = next(iter(DataLoader(train, batch_size, shuffle=True, generator=generator)))
    _say(f"Shape of a batch: {tuple(batch.mixture.shape)}")


def _say(line: str) -> None:
    """Write a line on stdout."""
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
