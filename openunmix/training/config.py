"""Settings of a training run, and presets of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from openunmix.data import MixingConfig
from openunmix.model import NETWORKS, Architecture
from openunmix.training.losses import MULTI_TARGET_LOSSES, SINGLE_TARGET_LOSSES
from openunmix.transforms.fourier import STFTConfig

_ARCHITECTURE = Architecture(hidden_size=256, bandwidth=16000.0)
_STFT = STFTConfig()
T = TypeVar("T")


def _option(default: T, text: str, name: str | None = None, **about: Any) -> T:
    """Field that is an option of ``umx-train``; see :mod:`openunmix.cli._train_options`."""
    metadata = {"help": text, **about} | ({"option": name} if name else {})
    value: T = field(default=default, metadata=metadata)
    return value


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training run; where audio is and what computes are not among them.

    Each field with a help text in its metadata is an option of ``umx-train``, and so are those of
    the nested settings. ``umx-train --help`` and ``docs/training.md`` list them all.

    Examples
    --------
    >>> config = TrainingConfig(targets=("vocals",), architecture=Architecture(hidden_size=64))
    >>> TrainingConfig.from_json(config.to_json()) == config
    True
    """

    #: The sources; one network is trained for each, all on the same mixtures.
    targets: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    architecture: Architecture = _ARCHITECTURE
    stft: STFTConfig = _STFT
    nb_channels: int = _option(2, "audio channels")
    # Of the data.
    mixing: MixingConfig | None = None  # None for other datasets than stems
    duration: float = _option(3.0, "seconds of an excerpt", "--seq-dur")
    batch_size: int = _option(8, "excerpts a step, over all processes")
    augment: bool = _option(
        False, "augment batches on the device: gain, channel swap, pitch, tempo, remixing"
    )
    equalise: float = _option(
        0.0, "standard deviation in dB of random equaliser curves, one a source; 0: off", least=0
    )
    #: Excerpts that the input normalisation is fitted to; 0 leaves it at mean 0 and scale 1.
    statistics_excerpts: int = 300
    # Of the optimisation.
    epochs: int | None = _option(None, "passes over the data in the whole run")
    steps: int = _option(6000, "updates of the weights in the whole run")
    loss: str = _option(
        "normalized-mse",
        "training objective",
        choices=(*SINGLE_TARGET_LOSSES, *MULTI_TARGET_LOSSES),
    )
    learning_rate: float = _option(1e-3, "peak learning rate of Adam", "--lr")
    schedule: str = _option(
        "trapezoid",
        "learning-rate schedule",
        choices=("constant", "cosine", "trapezoid", "plateau"),
    )
    warmup: int = _option(100, "steps of linear warm-up of the learning rate", least=0)
    cooldown: float = 0.3  # fraction of the run in which a trapezoid falls to 0
    decay_patience: int = _option(
        80,
        "plateau: validations without a lower loss before the rate decays",
        "--lr-decay-patience",
        least=0,
    )
    decay_factor: float = _option(0.3, "plateau: factor of a decay", "--lr-decay-gamma")
    weight_decay: float = _option(1e-5, "L2 penalty of the weights", least=0)
    clip: float = _option(5.0, "largest gradient norm of a network; 0: no limit", least=0)
    ema_decay: float = _option(
        0.998,
        "decay of the exponential moving average (EMA) of the weights, which is the model; 0: none",
        least=0,
        below=1,
    )
    precision: str = _option(
        "bf16",
        "mixed precision of the networks; the weights are float32",
        choices=("float32", "bf16", "fp16"),
    )
    seed: int = _option(42, "seed of weights, dropout and data", least=0)
    # Of the run.
    patience: int = _option(
        0, "validations without a lower loss that end the run; 0: never", least=0
    )
    keep_best: bool = False  # save the model of the lowest validation loss, not the last one
    validate_every: int = _option(500, "steps between validations; 0: an epoch", least=0)
    save_every: int = _option(100, "steps between checkpoints; 0: an epoch", least=0)
    keep: tuple[int, ...] = _option(
        (), "steps whose model is also kept, in a folder of that number", nargs="+"
    )

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name as JSON can hold them; nested ones are dictionaries."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        settings["architecture"]["name"] = self.architecture.name
        return settings

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> TrainingConfig:
        """Make the settings from :meth:`to_json`'s dictionary; unknown names are errors."""
        values = dict(settings)
        for name in values.keys() & {"targets", "keep"}:
            values[name] = tuple(values[name])
        if "architecture" in values:
            options = dict(values["architecture"])
            kind = NETWORKS[options.pop("name", Architecture.name)].options
            values["architecture"] = _checked(kind, options)
        if "stft" in values:
            values["stft"] = _checked(STFTConfig, values["stft"])
        if values.get("mixing") is not None:
            values["mixing"] = MixingConfig.from_json(values["mixing"])
        return _checked(cls, values)

    def total_steps(self, epoch_steps: int) -> int:
        """Count the steps of the whole run, from those of an epoch."""
        return self.steps if self.epochs is None else self.epochs * epoch_steps


def _checked(kind: type[T], values: dict[str, Any]) -> T:
    """Make settings; unknown names are errors."""
    known = [setting.name for setting in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise ValueError(f"unknown training settings {unknown}; choose from {known}")
    return kind(**values)


_DEFAULT = TrainingConfig()
#: Settings that fit a kind of data: endless mixtures of whole stems, the tracks that the code
#: makes, and the datasets of openunmix 1.3.0 with its published recipe.
PRESETS = {
    "stems": replace(_DEFAULT, mixing=MixingConfig()),
    "synthetic": replace(
        _DEFAULT,
        architecture=replace(_ARCHITECTURE, hidden_size=64, nb_layers=2),
        stft=replace(_STFT, n_fft=2048),
        duration=2.0,
        batch_size=4,
        steps=600,
        warmup=20,
        ema_decay=0.98,
        precision="float32",
        statistics_excerpts=16,
        validate_every=300,
        save_every=20,
    ),
    "classic": replace(
        _DEFAULT,
        targets=("vocals",),
        architecture=replace(_ARCHITECTURE, hidden_size=512),
        duration=6.0,
        batch_size=16,
        epochs=1000,
        loss="mse",
        schedule="plateau",
        warmup=0,
        clip=0.0,
        ema_decay=0.0,
        patience=140,
        keep_best=True,
        precision="float32",
        validate_every=0,
        save_every=0,
    ),
}
