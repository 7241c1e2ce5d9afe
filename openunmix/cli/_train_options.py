"""Options of ``umx-train``, generated from the fields of its settings.

A field of :class:`~openunmix.training.TrainingConfig`, or of the settings nested there, is an
option if its metadata has ``help``. Other keys: ``option`` (its name, if not that of the field),
``metavar``, ``choices``, ``nargs``, ``parse`` (from text to a value), ``append`` (repeatable),
``least`` and ``below`` (of a number, which must be positive otherwise).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from openunmix.cli._options import Group
from openunmix.cli._train_data import DATASET_NAMES, STEMS, add_dataset_options, dataset_name
from openunmix.data import MixingConfig
from openunmix.model import NETWORKS, Architecture
from openunmix.training import PRESETS, TrainingConfig
from openunmix.training.losses import MULTI_TARGET_LOSSES
from openunmix.transforms.fourier import STFTConfig


class Option(NamedTuple):
    """An option, and the field it sets: ``dest`` of the settings ``part``, or of all (``""``)."""

    name: str
    part: str
    dest: str
    hint: Any
    about: Mapping[str, Any]

    @property
    def kind(self) -> Any:
        """Type of one value: X of ``X``, ``X | None`` and ``tuple[X, ...]``."""
        hint = self.hint
        while get_args(hint):
            hint = get_args(hint)[0]
        return hint

    def add(self, group: Group) -> None:
        """Add it to a parser; its value is None unless it is given."""
        about, metavar = self.about, {int: "N", float: "X"}.get(self.kind)
        if self.kind is bool:
            more: dict[str, Any] = {"action": "store_true"}
        elif "choices" in about:
            more = {"choices": about["choices"]}
        else:
            parse = _parser(about["parse"]) if "parse" in about else self.kind
            more = {"type": parse, "metavar": about.get("metavar", metavar)}
            more |= {"action": "append"} if about.get("append") else {"nargs": about.get("nargs")}
        text = f"{STEMS}: " * (self.part == "mixing") + about["help"]
        text += "; repeatable" * bool(about.get("append"))
        text += f" (default: {self.default})" if self.default else ""
        group.add_argument(self.name, dest=self.dest, default=None, help=text, **more)

    @property
    def default(self) -> str:
        """Its default; three for synthetic tracks, stems and others, where they differ."""
        presets = [PRESETS[name] for name in ("synthetic", STEMS, "classic")]
        parts = [getattr(preset, self.part) if self.part else preset for preset in presets]
        values = [getattr(part, self.dest) for part in parts if part is not None]
        if "parse" in self.about or values[0] is False or values[0] == ():
            return ""
        if self.dest == "steps":  # none beside epochs
            values = [None if p.epochs else v for p, v in zip(presets, values, strict=True)]
        shown = ["none" if v is None else str(v).removesuffix(".0") for v in values]
        return ", ".join(shown if len(set(shown)) > 1 else shown[:1])

    def value(self, given: Any) -> Any:
        """Value of the field; ValueError if a number is out of range."""
        if self.about.get("append") or "nargs" in self.about:
            return dict(given) if get_origin(self.hint) is Mapping else tuple(given)
        if self.part != "mixing" and self.kind in (int, float):  # mixing checks itself
            zero, below = self.about.get("least") == 0, self.about.get("below", math.inf)
            if not (given > 0 or (given == 0 and zero)):
                raise ValueError(f"{self.name} must be {_WANTED[zero]}, not {given}")
            if given >= below:
                raise ValueError(f"{self.name} must be less than {below}, not {given}")
        return given


_WANTED = {True: "0 or more", False: "positive"}
_PARTS = {"mixing": MixingConfig, "architecture": Architecture, "stft": STFTConfig}


#: All options that set a field.
OPTIONS = [
    Option(
        about.get("option", "--" + setting.name.replace("_", "-")),
        part,
        setting.name,
        get_type_hints(kind)[setting.name],
        about,
    )
    for part, kind in {**_PARTS, "": TrainingConfig}.items()
    for setting in fields(kind)
    if "help" in (about := setting.metadata)
]


def _parser(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap a parser of values; argparse shows the messages of its own errors only."""

    def parser(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for data, networks and training."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset",
        choices=DATASET_NAMES,
        help=f"what to train on (default: synthetic; {STEMS} with --root)",
    )
    data.add_argument(
        "--root", type=Path, metavar="DIR", help="folder with train/ and valid/ of the dataset"
    )
    targets = data.add_mutually_exclusive_group()
    targets.add_argument("--target", help="train one network, for this source")
    targets.add_argument(
        "--targets",
        nargs="+",
        metavar="TARGET",
        help="train a network for each (default: all four; datasets of 1.3.0: vocals)",
    )
    networks = parser.add_argument_group("networks")
    networks.add_argument(
        "--architecture",
        choices=NETWORKS,
        help=f"network; defaults of others differ (default: {Architecture.name})",
    )
    training = parser.add_argument_group("training")
    groups = {"mixing": data, "architecture": networks, "stft": networks, "": training}
    for option in OPTIONS:
        option.add(groups[option.part])
    add_dataset_options(data)
    networks.add_argument("--model", help="model to fine-tune: a name or a folder")
    training.add_argument("--debug", action="store_true", help="do not fit the input normalisation")


def settings(args: argparse.Namespace) -> TrainingConfig:
    """Return the settings that the arguments ask for; ValueError if they cannot work."""
    if args.epochs is not None and args.steps is not None:
        raise ValueError("give --epochs or --steps, not both")
    config = PRESETS.get(dataset_name(args), PRESETS["classic"])
    given: dict[str, dict[str, Any]] = {part: {} for part in ("", *_PARTS)}
    for option in OPTIONS:
        value = getattr(args, option.dest)
        if value is not None:
            given[option.part][option.dest] = option.value(value)
    changes = given.pop("")
    if args.steps is not None:
        changes["epochs"] = None
    if args.debug:
        changes["statistics_excerpts"] = 0
    targets = [args.target] if args.target else args.targets
    changes["targets"] = tuple(dict.fromkeys(targets or config.targets))
    if args.architecture:
        kind = NETWORKS[args.architecture].options
        config = replace(config, architecture=kind(bandwidth=config.architecture.bandwidth))
    for part, values in given.items():
        if getattr(config, part) is not None:
            changes[part] = replace(getattr(config, part), **values)
    config = replace(config, **changes)
    _check(config)
    return config


def _check(config: TrainingConfig) -> None:
    """Raise ValueError if settings do not fit each other."""
    if config.mixing is not None:
        config.mixing.check()
    if config.stft.n_fft % 2:
        raise ValueError(f"--nfft {config.stft.n_fft} must be even")
    joint = {
        "--bridged": config.architecture.bridged,
        "--shared": config.architecture.shared,
        f"--loss {config.loss}": config.loss in MULTI_TARGET_LOSSES,
    }
    for name, given in joint.items():
        if given and len(config.targets) < 2:
            raise ValueError(f"{name} needs several --targets")
