"""Options of ``umx-train``, and what they mean: settings of the run and its datasets."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from openunmix.cli._options import Group
from openunmix.data import (
    Mixer,
    MixingConfig,
    add_dataset_options,
    load_library,
    make_datasets,
)
from openunmix.data.factory import DATASETS
from openunmix.training import PRESETS, TrainingConfig
from openunmix.training.config import PRECISIONS, SCHEDULES
from openunmix.training.losses import MULTI_TARGET_LOSSES, SINGLE_TARGET_LOSSES

__all__ = [
    "STEMS",
    "Data",
    "add_options",
    "dataset_name",
    "dataset_options",
    "describe",
    "load_data",
    "settings",
    "summary",
]

STEMS = "stems"
_SYNTHETIC_VALID = 16  # songs of which the validation loss is taken, unless another number is given

# Options that set a value of the settings, with type, placeholder and help.
_SETTINGS: dict[str, dict[str, tuple[str, type, str]]] = {
    "networks": {
        "--hidden-size": ("hidden_size", int, "width of the networks"),
        "--nb-layers": ("nb_layers", int, "recurrent layers"),
        "--nfft": ("n_fft", int, "samples of a window"),
        "--nhop": ("n_hop", int, "samples between windows"),
        "--bandwidth": ("bandwidth", float, "highest frequency in Hz that the networks see"),
        "--nb-channels": ("nb_channels", int, "audio channels"),
        "--sample-rate": ("sample_rate", int, "Hz; files of other rates are resampled"),
        "--compression": ("compression", float, "exponent of the input's power-law compression"),
    },
    "training": {
        "--epochs": ("epochs", int, "passes over the data in the whole run"),
        "--steps": ("steps", int, "updates in the whole run"),
        "--batch-size": ("batch_size", int, "excerpts an update, over all processes"),
        "--seq-dur": ("duration", float, "seconds of an excerpt"),
        "--lr": ("learning_rate", float, "learning rate of Adam"),
        "--warmup": ("warmup", int, "steps in which the learning rate rises"),
        "--lr-decay-patience": ("decay_patience", int, "validations that end a plateau"),
        "--lr-decay-gamma": ("decay_factor", float, "factor of the rate after a plateau"),
        "--patience": ("patience", int, "validations without progress that end the run; 0: none"),
        "--weight-decay": ("weight_decay", float, "L2 penalty of the weights"),
        "--clip": ("clip", float, "largest norm of a network's gradient; 0: no limit"),
        "--dropout": ("dropout", float, "share of values that recurrent layers do not see"),
        "--ema-decay": ("ema_decay", float, "decay of the EMA of the weights; 0: no EMA"),
        "--equalise": ("equalise", float, "dB by which spectra of sources are changed at random"),
        "--seed": ("seed", int, "seed of weights, dropout and data"),
        "--validate-every": ("validate_every", int, "steps; 0: an epoch"),
        "--save-every": ("save_every", int, "steps between checkpoints; 0: an epoch"),
    },
}
# Settings of mixtures of stems that are options.
_MIXING = [setting for setting in fields(MixingConfig) if "help" in setting.metadata]
_CHOICES = {
    "--loss": ("loss", [*SINGLE_TARGET_LOSSES, *MULTI_TARGET_LOSSES], "what is minimised"),
    "--schedule": ("schedule", list(SCHEDULES), "how the learning rate changes"),
    "--precision": ("precision", list(PRECISIONS), "how matrices are multiplied"),
}
# Settings that may be 0; all others must be positive.
_MAY_BE_ZERO = [
    *("warmup", "decay_patience", "patience", "weight_decay", "clip", "dropout", "ema_decay"),
    *("equalise", "seed", "validate_every", "save_every"),
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for data, networks and training."""
    data = parser.add_argument_group("data")
    names = ["synthetic", STEMS, *(name for name in DATASETS if name != "synthetic")]
    data.add_argument(
        "--dataset",
        choices=names,
        help=f"what to train on (default: synthetic, songs made by the code; with --root, {STEMS})",
    )
    data.add_argument("--root", type=Path, help="folder with train/ and valid/")
    targets = data.add_mutually_exclusive_group()
    targets.add_argument("--target", help="train one network, for this source")
    targets.add_argument("--targets", nargs="+", metavar="TARGET", help="a network for each")
    _add_mixing_options(data)
    _add_dataset_options(data)
    for group, options in _SETTINGS.items():
        section = parser.add_argument_group(group)
        for option, (field, kind, text) in options.items():
            section.add_argument(
                option, dest=field, type=kind, metavar=_placeholder(kind), help=text
            )
        if group == "networks":
            section.add_argument("--unidirectional", action="store_true", help="see only the past")
            section.add_argument(
                "--bridged", action="store_true", help="let the networks share what they see"
            )
            section.add_argument(
                "--shared", action="store_true", help="let the networks share all but two layers"
            )
            section.add_argument("--model", help="train this model further: a name or a folder")
    for option, (field, choices, text) in _CHOICES.items():
        section.add_argument(option, dest=field, choices=choices, help=text)
    section.add_argument(
        "--augment", action="store_true", help="change gain, sides, pitch, tempo of batches"
    )
    section.add_argument(
        "--keep", nargs="+", type=int, metavar="N", help="keep the model of these steps, too"
    )
    section.add_argument("--debug", action="store_true", help="no statistics of the input")


def _add_mixing_options(group: Group) -> None:
    """Add the options for how stems are mixed, from the fields of their settings."""
    for setting in _MIXING:
        about, kind = setting.metadata, {"float": float}.get(str(setting.type), str)
        more = {name: about[name] for name in ("metavar", "choices") if name in about}
        text = about["help"]
        if setting.default not in (None, (), MISSING):
            text += f" (default: {setting.default})"
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=_parsed(about["parse"]) if "parse" in about else kind,
            action="append" if about.get("append") else "store",
            help=text + "; repeatable" * about.get("append", False),
            **more,
        )


def _parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Parse a value; argparse shows the messages of its own errors only."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def _placeholder(kind: type) -> str:
    """Name for the value of an option."""
    return "N" if kind is int else "X"


def _add_dataset_options(group: Group) -> None:
    """Add the options of all datasets, once each; their defaults come later."""
    known: set[str] = set()
    for dataset in DATASETS:
        for action in _options_of(dataset).values():
            if action.dest not in known:
                known.add(action.dest)
                action = copy.copy(action)
                action.required, action.default = False, argparse.SUPPRESS
                group._add_action(action)  # type: ignore[attr-defined]


def _options_of(dataset: str) -> dict[str, argparse.Action]:
    """Options that a dataset has of its own, by their names in the namespace."""
    parser = argparse.ArgumentParser(add_help=False)
    if dataset in DATASETS:
        add_dataset_options(parser, dataset)
    return {action.dest: action for action in parser._actions}


def dataset_name(args: argparse.Namespace) -> str:
    """Return the dataset that is meant."""
    return args.dataset or (STEMS if args.root or args.also or args.extra else "synthetic")


def settings(args: argparse.Namespace) -> TrainingConfig:
    """Return the settings that the arguments ask for; ValueError if they cannot work."""
    if args.epochs is not None and args.steps is not None:
        raise ValueError("give --epochs or --steps, not both")
    config = PRESETS.get(dataset_name(args), PRESETS["classic"])
    given = {
        field: getattr(args, field)
        for field in config.to_json()
        if getattr(args, field, None) is not None and getattr(args, field) is not False
    }
    if args.steps is not None:
        given["epochs"] = None
    targets = [args.target] if args.target else args.targets
    given["keep"] = tuple(args.keep or ())
    given["targets"] = tuple(dict.fromkeys(targets or config.targets))
    if args.debug:
        given["statistics_excerpts"] = 0
    if config.mixing is not None:
        given["mixing"] = _mixing(args, config.mixing)
    config = replace(config, **given)
    _check(config)
    return config


def _check(config: TrainingConfig) -> None:
    """Raise ValueError if settings cannot work."""
    options = {field: name for group in _SETTINGS.values() for name, (field, *_) in group.items()}
    for field, option in options.items():
        value = getattr(config, field)
        if value is None or value > 0 or (value == 0 and field in _MAY_BE_ZERO):
            continue
        wanted = "0 or more" if field in _MAY_BE_ZERO else "positive"
        raise ValueError(f"{option} must be {wanted}, not {value}")
    if config.hidden_size % 2 and not config.unidirectional:
        raise ValueError(f"--hidden-size {config.hidden_size} must be even, or --unidirectional")
    if config.n_hop > config.n_fft // 2 or config.n_fft % 2:
        raise ValueError(
            f"--nfft {config.n_fft} must be even and at least twice --nhop {config.n_hop}"
        )
    if config.ema_decay >= 1:
        raise ValueError(f"--ema-decay must be less than 1, not {config.ema_decay}")
    if config.dropout >= 1:
        raise ValueError(f"--dropout must be less than 1, not {config.dropout}")
    if config.compression > 1:
        raise ValueError(f"--compression must be 1 at most, not {config.compression}")
    joint = {
        "--bridged": config.bridged,
        "--shared": config.shared,
        f"--loss {config.loss}": config.loss in MULTI_TARGET_LOSSES,
    }
    for option, given in joint.items():
        if given and len(config.targets) < 2:
            raise ValueError(f"{option} needs several --targets")


class Data(NamedTuple):
    """What to train and to validate on.

    Attributes
    ----------
    train, valid : Dataset
        The datasets.
    targets : tuple of str
        The targets, as the dataset names them.
    """

    train: Dataset[Any] | Mixer
    valid: Dataset[Any] | None
    targets: tuple[str, ...]


def dataset_options(args: argparse.Namespace, config: TrainingConfig) -> argparse.Namespace:
    """Return the options of the dataset with its defaults; ValueError if they do not fit it."""
    name = dataset_name(args)
    options = _options_of(name)
    every = {dest for dataset in DATASETS for dest in _options_of(dataset)}
    for dest in sorted(every - options.keys()):
        if hasattr(args, dest):
            option = dest.replace("_", "-")
            raise ValueError(f"--{option} is not an option of --dataset {name}")
    for dest, action in options.items():
        if action.required and not hasattr(args, dest):
            raise ValueError(f"--dataset {name} needs {action.option_strings[0]}")
    mixing = [option.name for option in _MIXING if getattr(args, option.name) is not None]
    if name != STEMS and mixing:
        raise ValueError(f"--{mixing[0]} is for --dataset {STEMS}, not {name}")
    given = {dest: getattr(args, dest, action.default) for dest, action in options.items()}
    if name == "synthetic" and not hasattr(args, "nb_valid_samples"):
        given["nb_valid_samples"] = _SYNTHETIC_VALID
    return argparse.Namespace(
        dataset=name,
        root=args.root,
        target=config.targets[0],
        targets=list(config.targets),
        seq_dur=config.duration,
        sample_rate=config.sample_rate,
        seed=config.seed,
        **given,
    )


def load_data(args: argparse.Namespace, config: TrainingConfig) -> Data:
    """Make the datasets; ValueError if options do not fit them."""
    options = dataset_options(args, config)
    if options.dataset == STEMS:
        return Data(_mixer(args, config), None, config.targets)
    made = make_datasets(options)
    named = set(made.args.target).isdisjoint("*?[")  # and not by a glob
    targets = (made.args.target,) if named and len(config.targets) == 1 else config.targets
    return Data(made.train, made.valid, targets)


def _mixer(args: argparse.Namespace, config: TrainingConfig) -> Mixer:
    """Decode all stems, for mixtures without end."""
    if args.root is None:
        raise ValueError("--root is missing: the folder with train/ and valid/")
    if config.epochs is not None:
        raise ValueError(f"--dataset {STEMS} has no epochs; give --steps")
    assert config.mixing is not None
    return Mixer(
        load_library(args.root, config.mixing, config.targets, config.sample_rate),
        config.mixing,
        config.targets,
        round(config.duration * config.sample_rate),
        config.batch_size,
        config.sample_rate,
        config.seed,
        config.nb_channels,
    )


def _mixing(args: argparse.Namespace, mixing: MixingConfig) -> MixingConfig:
    """Return how stems are mixed."""
    given = {
        setting.name: getattr(args, setting.name)
        for setting in _MIXING
        if getattr(args, setting.name) is not None
    }
    for setting in _MIXING:
        if setting.metadata.get("append") and setting.name in given:
            values = given[setting.name]
            given[setting.name] = tuple(values) if setting.default == () else dict(values)
    mixing = replace(mixing, **given)
    mixing.check()
    return mixing


def describe(args: argparse.Namespace, data: Data, config: TrainingConfig) -> Sequence[str]:
    """Say what is trained on what, in a few lines."""
    name = dataset_name(args)
    if name == "synthetic":
        what = "synthetic songs, made by the code; give --root or --dataset for real ones"
    elif name == STEMS:
        what = f"mixtures of the stems in {args.root / 'train'}"
    else:
        what = f"{name} with {len(data.train)} items an epoch"  # type: ignore[arg-type]
    common = ", bridged" * config.bridged + ", shared" * config.shared
    length = f"{config.epochs} epochs" if config.epochs else f"{config.steps} steps"
    return [
        f"training on {what}",
        f"{len(config.targets)} network(s) of hidden size {config.hidden_size}{common} for "
        f"{', '.join(config.targets)}; loss {config.loss}",
        f"{length} of {config.batch_size} excerpts of {config.duration:g} s, to {args.output}",
    ]


def summary(dataset: Dataset[Any] | Mixer | None) -> str:
    """Say what a dataset is, in one line."""
    if isinstance(dataset, Mixer):
        stems = dataset.library.by_target.items()
        return "stems: " + ", ".join(f"{len(found)} of {target}" for target, found in stems)
    return "" if dataset is None else "; ".join(map(str.strip, repr(dataset).splitlines()))
