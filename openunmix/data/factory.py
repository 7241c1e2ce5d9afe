"""Datasets for training and validation from the options of a command line."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from openunmix.data.aligned import AlignedDataset
from openunmix.data.augment.sources import aug_from_str
from openunmix.data.base import UnmixDataset
from openunmix.data.musdb import MUSDBDataset
from openunmix.data.source_folder import SourceFolderDataset
from openunmix.data.synthetic import SyntheticDataset
from openunmix.data.track_folder import (
    FixedSourcesTrackFolderDataset,
    VariableSourcesTrackFolderDataset,
)


class Datasets(NamedTuple):
    """Datasets for training and validation; the options, ``args.target`` being the target."""

    train: UnmixDataset
    valid: UnmixDataset
    args: argparse.Namespace


class _Kind(NamedTuple):
    """A class of datasets, the option that names its target, and values that no option sets."""

    dataset: Callable[..., UnmixDataset]
    target: str
    train: dict[str, Any]
    valid: dict[str, Any]


_RANDOM = {"random_chunks": True}
_WHOLE = {"seq_duration": None}
_KINDS = {
    "musdb": _Kind(
        MUSDBDataset, "target", {"random_track_mix": True}, {**_WHOLE, "samples_per_track": 1}
    ),
    "aligned": _Kind(AlignedDataset, "output_file", _RANDOM, {}),
    "sourcefolder": _Kind(SourceFolderDataset, "target_dir", _RANDOM, _RANDOM),
    "trackfolder_var": _Kind(
        VariableSourcesTrackFolderDataset,
        "target_file",
        _RANDOM,
        {**_WHOLE, "random_interferer_mix": False},
    ),
    "trackfolder_fix": _Kind(
        FixedSourcesTrackFolderDataset,
        "target_file",
        _RANDOM,
        {**_WHOLE, "random_track_mix": False},
    ),
    "synthetic": _Kind(SyntheticDataset, "target", {}, {}),
}
#: Names of the datasets on a command line.
DATASETS = tuple(_KINDS)


def _count(default: int, text: str) -> dict[str, Any]:
    """Return the settings of an option that is a number."""
    return {"type": int, "default": default, "metavar": "N", "help": text}


def _flag(text: str) -> dict[str, Any]:
    """Return the settings of an option without a value."""
    return {"action": "store_true", "help": text}


def _names(metavar: str, text: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of an option with one or more values."""
    return {"nargs": "+", "metavar": metavar, "help": text, **settings}


_AUGMENTATIONS = _names("NAME", "of every source before mixing: gain, channelswap, force_stereo")
_FIXED, _VARIABLE, _FOLDER = "trackfolder_fix", "trackfolder_var", "sourcefolder"
_MIXED = (_FOLDER, _VARIABLE, _FIXED, "synthetic")
# Options, the datasets that have them, and what argparse needs to know.
_OPTIONS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("--input-file", ("aligned",), {"default": "mixture.wav", "help": "mixture: name or glob"}),
    ("--output-file", ("aligned",), {"default": "vocals.wav", "help": "target: name or glob"}),
    ("--source-augmentations", ("musdb",), {**_AUGMENTATIONS, "default": ["gain", "channelswap"]}),
    ("--source-augmentations", _MIXED, {**_AUGMENTATIONS, "default": []}),
    ("--is-wav", ("musdb",), _flag("folders of WAV files (HQ)")),
    ("--samples-per-track", ("musdb",), _count(64, "excerpts of a track an epoch")),
    ("--nb-train-samples", (_FOLDER, "synthetic"), _count(1000, "items of an epoch")),
    ("--nb-valid-samples", (_FOLDER, "synthetic"), _count(100, "validation items")),
    ("--target-dir", (_FOLDER,), {"required": True, "help": "folder of the target"}),
    (
        "--interferer-dirs",
        (_FOLDER,),
        _names("DIR", "folders of the interferers", required=True),
    ),
    (
        "--target-file",
        (_VARIABLE, _FIXED),
        {"required": True, "help": "file of the target in a track folder"},
    ),
    (
        "--interferer-files",
        (_FIXED,),
        _names("FILE", "files of the interferers in a track folder", required=True),
    ),
    ("--random-track-mix", (_FIXED,), _flag("take each interferer from any track")),
    ("--random-interferer-mix", (_VARIABLE,), _flag("take the interferers from another track")),
    (
        "--silence-missing",
        (_VARIABLE,),
        _flag("use tracks without the target, which is silent there"),
    ),
    ("--ext", (_FOLDER, _VARIABLE), {"help": "suffix of audio files (default: any format)"}),
]


def add_dataset_options(parser: argparse.ArgumentParser, dataset: str) -> None:
    """Add a dataset's options; the parser has ``--root``, ``--target``, ``--seq-dur`` itself."""
    group = parser.add_argument_group(f"dataset {dataset}")
    for name, datasets, settings in _OPTIONS:
        if dataset in datasets:
            group.add_argument(name, **settings)


def make_datasets(args: argparse.Namespace) -> Datasets:
    """Create the datasets for training and validation from the options of one kind.

    ``seed`` and ``sample_rate`` are optional. ValueError for a missing root or a wrong option,
    AudioFileError if files are missing or unreadable, MissingExtraError for a missing package.
    """
    if args.dataset not in _KINDS:
        raise ValueError(f"unknown dataset {args.dataset!r}; choose from {list(DATASETS)}")
    if args.root is None and args.dataset not in ("musdb", "synthetic"):
        raise ValueError(f"--root is missing: the folder of the dataset {args.dataset!r}")
    kind = _KINDS[args.dataset]
    parameters = inspect.signature(kind.dataset).parameters
    given = {"seed": 42, **vars(args), "seq_duration": args.seq_dur}
    given["download"] = args.root is None  # the previews of MUSDB18
    given["silence_missing_targets"] = given.get("silence_missing")
    augmentations = aug_from_str(given.pop("source_augmentations", None))

    def make(split: str, **values: Any) -> UnmixDataset:
        values = {**given, "split": split, "nb_samples": given.get(f"nb_{split}_samples"), **values}
        return kind.dataset(**{name: values[name] for name in parameters if name in values})

    return Datasets(
        make("train", source_augmentations=augmentations, **kind.train),
        make("valid", **kind.valid),
        argparse.Namespace(**{**vars(args), "target": target_name(args)}),
    )


def target_name(args: argparse.Namespace) -> str:
    """Name of the source that is the target, as a dataset names it."""
    option = _KINDS[args.dataset].target
    target: str = getattr(args, option, "")
    return Path(target).stem if option.endswith("_file") else target


def least_samples(args: argparse.Namespace, split: str) -> int:
    """Length in samples of the tracks of a split that are not skipped as too short."""
    kind = _KINDS[args.dataset]
    values = kind.train if split == "train" else kind.valid
    seconds = values.get("seq_duration", getattr(args, "seq_dur", None)) or 0
    return max(1, round(seconds * round(getattr(args, "sample_rate", 44100))))


def load_datasets(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    argv: Sequence[str] | None = None,
) -> Datasets:
    """Parse the options of a dataset and create it for training and validation.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Gets the options of the dataset.
    args : argparse.Namespace
        Options parsed so far; ``args.dataset`` is the name of the dataset.
    argv : sequence of str, optional
        The command line, ``sys.argv[1:]`` if not given.

    Returns
    -------
    Datasets
        Train, valid, and all options; ``args.target`` is the name of the target.
    """
    if args.dataset not in _KINDS:
        parser.error(f"unknown dataset {args.dataset!r}; choose from {list(DATASETS)}")
    add_dataset_options(parser, args.dataset)
    return make_datasets(parser.parse_args(argv))
