"""What ``umx-train`` trains and validates on: datasets, their options, validation tracks."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from openunmix.cli._options import Group
from openunmix.data import Mixer, MixingConfig, factory, load_library
from openunmix.data.tracks import TrackAudio
from openunmix.training import TrainingConfig
from openunmix.training.validation import first_tracks, load_validation_tracks

STEMS = "stems"
DATASET_NAMES = ("synthetic", STEMS, *(name for name in factory.DATASETS if name != "synthetic"))
_SYNTHETIC_VALID = 16  # validation tracks, unless another number is given
_SCORED = 4  # validation tracks of a dataset that are scored during the run


def add_dataset_options(group: Group) -> None:
    """Add the options of all datasets, once each; their defaults come later."""
    actions: dict[str, argparse.Action] = {}
    users: dict[str, list[str]] = {}
    for dataset in factory.DATASETS:
        for dest, action in _options_of(dataset).items():
            actions.setdefault(dest, action)
            users.setdefault(dest, []).append(dataset)
    for dest, action in actions.items():
        added = copy.copy(action)
        added.help = f"{', '.join(users[dest])}: {action.help}"
        if dest == "source_augmentations":
            added.help += " (default: musdb: gain channelswap)"
        elif dest == "nb_valid_samples":
            added.help += f" (default: {action.default}; synthetic: {_SYNTHETIC_VALID})"
        elif action.default:
            added.help += f" (default: {action.default})"
        added.required, added.default = False, argparse.SUPPRESS
        group._add_action(added)


def _options_of(dataset: str) -> dict[str, argparse.Action]:
    """Options that a dataset has of its own, by their names in the namespace."""
    parser = argparse.ArgumentParser(add_help=False)
    if dataset in factory.DATASETS:
        factory.add_dataset_options(parser, dataset)
    return {action.dest: action for action in parser._actions}


def dataset_name(args: argparse.Namespace) -> str:
    """Name of the dataset that is meant."""
    return args.dataset or (STEMS if args.root or args.also or args.extra else "synthetic")


class Data(NamedTuple):
    """Datasets for training and validation, and the targets as they name them."""

    train: Dataset[Any] | Mixer
    valid: Dataset[Any] | None
    targets: tuple[str, ...]


def dataset_options(args: argparse.Namespace, config: TrainingConfig) -> argparse.Namespace:
    """Options of the dataset with its defaults; ValueError if others are given."""
    name = dataset_name(args)
    options = _options_of(name)
    every = {dest for dataset in factory.DATASETS for dest in _options_of(dataset)}
    for dest in sorted(every - options.keys()):
        if hasattr(args, dest):
            option = dest.replace("_", "-")
            raise ValueError(f"--{option} is not an option of --dataset {name}")
    for dest, action in options.items():
        if action.required and not hasattr(args, dest):
            raise ValueError(f"--dataset {name} needs {action.option_strings[0]}")
    for setting in fields(MixingConfig) if name != STEMS else ():
        if getattr(args, setting.name, None) is not None:
            option = setting.name.replace("_", "-")
            raise ValueError(f"--{option} is for --dataset {STEMS}, not {name}")
    given = {dest: getattr(args, dest, action.default) for dest, action in options.items()}
    if name == "synthetic" and not hasattr(args, "nb_valid_samples"):
        given["nb_valid_samples"] = _SYNTHETIC_VALID
    return argparse.Namespace(
        dataset=name,
        root=args.root,
        target=config.targets[0],
        targets=list(config.targets),
        seq_dur=config.duration,
        sample_rate=config.stft.sample_rate,
        seed=config.seed,
        **given,
    )


def load_data(args: argparse.Namespace, config: TrainingConfig) -> Data:
    """Make the datasets; ValueError if options do not fit them."""
    options = dataset_options(args, config)
    if options.dataset == STEMS:
        return Data(_mixer(args, config), None, config.targets)
    made = factory.make_datasets(options)
    named = set(made.args.target).isdisjoint("*?[")  # and not by a glob
    targets = (made.args.target,) if named and len(config.targets) == 1 else config.targets
    return Data(made.train, made.valid, targets)


def _mixer(args: argparse.Namespace, config: TrainingConfig) -> Mixer:
    """Decode all stems, for endless mixtures."""
    if args.root is None:
        raise ValueError("--root is missing: the folder with train/ and valid/")
    if config.epochs is not None:
        raise ValueError(f"--dataset {STEMS} has no epochs; give --steps")
    assert config.mixing is not None
    sample_rate = round(config.stft.sample_rate)
    return Mixer(
        load_library(args.root, config.mixing, config.targets, sample_rate),
        config.mixing,
        config.targets,
        round(config.duration * sample_rate),
        config.batch_size,
        sample_rate,
        config.seed,
        config.nb_channels,
    )


def validation_tracks(
    args: argparse.Namespace, config: TrainingConfig, data: Data
) -> list[TrackAudio]:
    """Tracks to score during the run; none where whole tracks would take too long."""
    if data.valid is None:
        shape = (config.targets, round(config.stft.sample_rate), config.nb_channels)
        return load_validation_tracks(args.root / "valid", *shape)
    if dataset_name(args) == "synthetic" or args.tensorboard:
        return first_tracks(data.valid, config, _SCORED)
    return []


def describe(args: argparse.Namespace, data: Data, config: TrainingConfig) -> Sequence[str]:
    """Describe the run in three lines."""
    name = dataset_name(args)
    if name == "synthetic":
        what = "synthetic tracks, made by the code; give --root or --dataset for real ones"
    elif name == STEMS:
        what = f"mixtures of the stems in {args.root / 'train'}"
    else:
        what = f"{name} with {len(data.train)} items an epoch"  # type: ignore[arg-type]
    networks = config.architecture
    common = ", bridged" * networks.bridged + ", shared" * networks.shared
    length = f"{config.epochs} epochs" if config.epochs else f"{config.steps} steps"
    return [
        f"training on {what}",
        f"{len(config.targets)} network(s) of hidden size {networks.hidden_size}{common} for "
        f"{', '.join(config.targets)}; loss {config.loss}",
        f"{length} of {config.batch_size} excerpts of {config.duration:g} s, to {args.output}",
    ]


def summary(dataset: Dataset[Any] | Mixer | None) -> str:
    """Summary of a dataset in one line."""
    if isinstance(dataset, Mixer):
        stems = dataset.library.by_target.items()
        return "stems: " + ", ".join(f"{len(found)} of {target}" for target, found in stems)
    return "" if dataset is None else "; ".join(map(str.strip, repr(dataset).splitlines()))
