"""Datasets for training and validation from the options of a command line."""

from __future__ import annotations

import argparse
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

__all__ = ["DATASETS", "Datasets", "add_dataset_options", "load_datasets", "make_datasets"]


class Datasets(NamedTuple):
    """Datasets for training and validation, and the options they were made with.

    Attributes
    ----------
    train, valid : UnmixDataset
        The datasets.
    args : argparse.Namespace
        The options, ``args.target`` being the name of the target.
    """

    train: UnmixDataset
    valid: UnmixDataset
    args: argparse.Namespace


class _Plan(NamedTuple):
    """How to make the datasets of a kind: class, target, and options of both, train and valid."""

    kind: type[UnmixDataset]
    target: str
    both: dict[str, Any]
    train: dict[str, Any]
    valid: dict[str, Any]


def _aligned(args: argparse.Namespace) -> _Plan:
    files = {"input_file": args.input_file, "output_file": args.output_file}
    both = {**_common(args), **files}
    return _Plan(AlignedDataset, Path(args.output_file).stem, both, {"random_chunks": True}, {})


def _source_folder(args: argparse.Namespace) -> _Plan:
    folders = {"target_dir": args.target_dir, "interferer_dirs": args.interferer_dirs}
    both = {**_common(args), **folders, "ext": args.ext, "random_chunks": True}
    train = {"nb_samples": args.nb_train_samples, **_augmented(args)}
    valid = {"nb_samples": args.nb_valid_samples}
    return _Plan(SourceFolderDataset, args.target_dir, both, train, valid)


def _track_folder_fix(args: argparse.Namespace) -> _Plan:
    files = {"target_file": args.target_file, "interferer_files": args.interferer_files}
    mixing = {"random_chunks": True, "random_track_mix": args.random_track_mix}
    return _Plan(
        FixedSourcesTrackFolderDataset,
        Path(args.target_file).stem,
        {**_common(args), **files},
        {**mixing, **_augmented(args)},
        {"seq_duration": None},
    )


def _track_folder_var(args: argparse.Namespace) -> _Plan:
    files = {"target_file": args.target_file, "ext": args.ext}
    mixing = {"random_chunks": True, "random_interferer_mix": args.random_interferer_mix}
    return _Plan(
        VariableSourcesTrackFolderDataset,
        Path(args.target_file).stem,
        {**_common(args), **files, "silence_missing_targets": args.silence_missing},
        {**mixing, **_augmented(args)},
        {"seq_duration": None},
    )


def _musdb(args: argparse.Namespace) -> _Plan:
    """Without a root, the previews are downloaded."""
    place = {"root": args.root, "download": args.root is None, "is_wav": args.is_wav}
    both = {"target": args.target, "seed": _seed(args), **place}
    train = {
        "seq_duration": args.seq_dur,
        "samples_per_track": args.samples_per_track,
        "random_track_mix": True,
        **_augmented(args),
    }
    valid = {"seq_duration": None, "samples_per_track": 1}
    return _Plan(MUSDBDataset, args.target, both, train, valid)


def _synthetic(args: argparse.Namespace) -> _Plan:
    both = {**_common(args), "target": args.target}
    del both["root"]
    train = {"nb_samples": args.nb_train_samples, **_augmented(args)}
    valid = {"nb_samples": args.nb_valid_samples}
    return _Plan(SyntheticDataset, args.target, both, train, valid)


_PLANS: dict[str, Callable[[argparse.Namespace], _Plan]] = {
    "musdb": _musdb,
    "aligned": _aligned,
    "sourcefolder": _source_folder,
    "trackfolder_var": _track_folder_var,
    "trackfolder_fix": _track_folder_fix,
    "synthetic": _synthetic,
}
#: Names of the datasets on a command line.
DATASETS = tuple(_PLANS)


def _seed(args: argparse.Namespace) -> int:
    """Seed, with the default of 1.3.0."""
    return int(getattr(args, "seed", 42))


def _common(args: argparse.Namespace) -> dict[str, Any]:
    """Options of all datasets of files."""
    return {
        "root": args.root,
        "seq_duration": args.seq_dur,
        "sample_rate": getattr(args, "sample_rate", 44100.0),
        "seed": _seed(args),
    }


def _augmented(args: argparse.Namespace) -> dict[str, Any]:
    """Augmentations, for training only."""
    return {"source_augmentations": aug_from_str(args.source_augmentations)}


_FLAG: dict[str, Any] = {"action": "store_true"}
_NAMES: dict[str, Any] = {
    "nargs": "+",
    "metavar": "NAME",
    "help": "of every source before mixing: gain, channelswap, force_stereo",
}
_FILES: dict[str, Any] = {"nargs": "+", "required": True}
_FIXED, _VARIABLE, _FOLDER = "trackfolder_fix", "trackfolder_var", "sourcefolder"
# Options, the datasets that have them, and what argparse needs to know.
_OPTIONS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("--input-file", ("aligned",), {"default": "mixture.wav", "help": "mixture: name or glob"}),
    ("--output-file", ("aligned",), {"default": "vocals.wav", "help": "target: name or glob"}),
    ("--source-augmentations", ("musdb",), {**_NAMES, "default": ["gain", "channelswap"]}),
    (
        "--source-augmentations",
        (_FOLDER, _VARIABLE, _FIXED, "synthetic"),
        {**_NAMES, "default": []},
    ),
    ("--is-wav", ("musdb",), {**_FLAG, "help": "folders of WAV files (HQ)"}),
    (
        "--samples-per-track",
        ("musdb",),
        {"type": int, "default": 64, "metavar": "N", "help": "excerpts of a track an epoch"},
    ),
    (
        "--nb-train-samples",
        (_FOLDER, "synthetic"),
        {"type": int, "default": 1000, "metavar": "N", "help": "items of an epoch"},
    ),
    (
        "--nb-valid-samples",
        (_FOLDER, "synthetic"),
        {"type": int, "default": 100, "metavar": "N", "help": "validation items"},
    ),
    ("--target-dir", (_FOLDER,), {"required": True, "help": "folder of the target"}),
    (
        "--interferer-dirs",
        (_FOLDER,),
        {**_FILES, "metavar": "DIR", "help": "folders of the interferers"},
    ),
    (
        "--target-file",
        (_VARIABLE, _FIXED),
        {"required": True, "help": "file of the target in a track folder"},
    ),
    (
        "--interferer-files",
        (_FIXED,),
        {**_FILES, "metavar": "FILE", "help": "files of the interferers in a track folder"},
    ),
    ("--random-track-mix", (_FIXED,), {**_FLAG, "help": "take each interferer from any track"}),
    (
        "--random-interferer-mix",
        (_VARIABLE,),
        {**_FLAG, "help": "take the interferers from another track"},
    ),
    (
        "--silence-missing",
        (_VARIABLE,),
        {**_FLAG, "help": "use tracks without the target, which is silent there"},
    ),
    ("--ext", (_FOLDER, _VARIABLE), {"default": ".wav", "help": "suffix of audio files"}),
]


def add_dataset_options(parser: argparse.ArgumentParser, dataset: str) -> None:
    """Add the options of a dataset to a parser.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of a command that has ``--root``, ``--target`` and ``--seq-dur`` itself.
    dataset : str
        One of :data:`DATASETS`.
    """
    group = parser.add_argument_group(f"dataset {dataset}")
    for name, datasets, settings in _OPTIONS:
        if dataset in datasets:
            group.add_argument(name, **settings)


def make_datasets(args: argparse.Namespace) -> Datasets:
    """Create the datasets for training and validation.

    Parameters
    ----------
    args : argparse.Namespace
        ``dataset``, ``root``, ``target``, ``seq_dur``, the options of
        :func:`add_dataset_options`, and optionally ``seed`` and ``sample_rate``.

    Returns
    -------
    Datasets
        Train, valid, and a copy of the options with the name of the target.

    Raises
    ------
    ValueError
        If the dataset needs a root, or an option is wrong.
    AudioFileError
        If files are missing or cannot be read.
    MissingExtraError
        If a package is not installed.
    """
    if args.dataset not in _PLANS:
        raise ValueError(f"unknown dataset {args.dataset!r}; choose from {list(DATASETS)}")
    if args.root is None and args.dataset not in ("musdb", "synthetic"):
        raise ValueError(f"--root is missing: the folder of the dataset {args.dataset!r}")
    kind, target, both, train, valid = _PLANS[args.dataset](args)
    return Datasets(
        kind(**{**both, "split": "train", **train}),
        kind(**{**both, "split": "valid", **valid}),
        argparse.Namespace(**{**vars(args), "target": target}),
    )


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

    Raises
    ------
    ValueError
        As :func:`make_datasets`; so are the other errors.
    """
    if args.dataset not in _PLANS:
        parser.error(f"unknown dataset {args.dataset!r}; choose from {list(DATASETS)}")
    add_dataset_options(parser, args.dataset)
    return make_datasets(parser.parse_args(argv))
