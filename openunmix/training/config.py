"""Every setting of a training run, in one place."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from openunmix.data import MixingConfig

__all__ = ["ARCHITECTURE", "PRECISIONS", "PRESETS", "SCHEDULES", "TrainingConfig"]

#: Names of the arithmetic of matrix products.
PRECISIONS = ("float32", "bf16", "fp16")
#: Names of the ways in which the learning rate changes.
SCHEDULES = ("constant", "cosine", "trapezoid", "plateau")

#: Settings that a run keeps when it is resumed.
ARCHITECTURE = (
    "targets",
    "hidden_size",
    "nb_layers",
    "unidirectional",
    "compression",
    "bridged",
    "shared",
    "nb_channels",
    "sample_rate",
    "n_fft",
    "n_hop",
    "bandwidth",
)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training run.

    Attributes
    ----------
    targets : tuple of str
        The sources; one network is trained for each, all on the same mixtures.
    hidden_size, nb_layers, unidirectional, compression, nb_channels
        Architecture of the networks, see :class:`openunmix.model.OpenUnmix`.
    bridged : bool
        Whether the networks exchange features, see :func:`openunmix.model.masks`.
    shared : bool
        Whether the networks share layers, see :func:`openunmix.model.share`.
    sample_rate : int
        Hz.
    n_fft, n_hop : int
        Window and hop length of the STFT in samples.
    bandwidth : float
        Highest frequency in Hz that the networks see.
    duration : float
        Seconds of an excerpt.
    batch_size : int
        Excerpts a step, over all processes.
    steps : int
        Updates of the weights in the whole run, unless there are ``epochs``.
    epochs : int, optional
        Passes over the data in the whole run.
    loss : str
        One of :data:`openunmix.training.losses.SINGLE_TARGET_LOSSES`.
    learning_rate : float
        Peak learning rate of Adam.
    schedule : str
        How the rate changes, one of :data:`SCHEDULES`; see
        :func:`openunmix.training.schedules.scheduled_rate`.
    warmup : int
        Steps in which the learning rate rises linearly from 0.
    cooldown : float
        Fraction of the steps, at the end, in which a trapezoid falls linearly to 0.
    decay_patience : int
        Validations without a lower loss after which a plateau ends.
    decay_factor : float
        What the rate is multiplied by at the end of a plateau.
    weight_decay : float
        L2 penalty of Adam.
    clip : float
        Largest norm of the gradient of one network, or of all that share layers; 0 for no limit.
    dropout : float
        Share of the values between recurrent layers that a step leaves out.
    ema_decay : float
        Decay of the exponential moving average of the weights, 0 for none; the average is what
        is validated and saved.
    patience : int
        Validations without a lower loss after which to stop; 0 never stops.
    keep_best : bool
        Whether the model that is saved is that of the lowest validation loss, not the last one.
    seed : int
        Seed of the initial weights, the dropout and the mixtures.
    precision : str
        How matrices are multiplied, one of :data:`PRECISIONS`: ``bf16`` and ``fp16`` are
        automatic mixed precision; weights stay float32. A CPU without bfloat16 uses float32.
    augment : bool
        Whether batches are augmented on the device, see
        :class:`~openunmix.data.BatchAugmentation`.
    equalise : float
        By how many dB spectra of sources are changed at random, as by an equaliser; 0 for not at
        all. See :func:`openunmix.training.losses.equalise`.
    mixing : MixingConfig, optional
        How stems are mixed; None for other datasets.
    statistics_excerpts : int
        Excerpts from which the mean and the scale of the networks' input are taken; 0 leaves
        them at 0 and 1.
    validate_every : int
        Steps between validations; 0 for every epoch.
    save_every : int
        Steps between checkpoints and records; 0 for every epoch.
    keep : tuple of int
        Steps whose model is also kept, in a folder of that number.
    """

    targets: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    hidden_size: int = 256
    nb_layers: int = 3
    unidirectional: bool = False
    compression: float = 1.0
    bridged: bool = False
    shared: bool = False
    nb_channels: int = 2
    sample_rate: int = 44100
    n_fft: int = 4096
    n_hop: int = 1024
    bandwidth: float = 16000.0
    duration: float = 3.0
    batch_size: int = 8
    steps: int = 6000
    epochs: int | None = None
    loss: str = "normalized-mse"
    learning_rate: float = 1e-3
    schedule: str = "trapezoid"
    warmup: int = 100
    cooldown: float = 0.3
    decay_patience: int = 80
    decay_factor: float = 0.3
    weight_decay: float = 1e-5
    clip: float = 5.0
    dropout: float = 0.4
    ema_decay: float = 0.998
    patience: int = 0
    keep_best: bool = False
    seed: int = 42
    precision: str = "bf16"
    augment: bool = False
    equalise: float = 0.0
    mixing: MixingConfig | None = None
    statistics_excerpts: int = 300
    validate_every: int = 500
    save_every: int = 100
    keep: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them.

        Returns
        -------
        dict
            A value by name.
        """
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return settings

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> TrainingConfig:
        """Make the settings from :meth:`to_json`'s dictionary; unknown names are errors."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(settings.keys() - set(known))
        if unknown:
            raise ValueError(f"unknown training settings {unknown}; choose from {known}")
        values = {**settings, "targets": tuple(settings.get("targets", cls.targets))}
        values["keep"] = tuple(values.get("keep", ()))
        if values.get("mixing") is not None:
            values["mixing"] = MixingConfig.from_json(values["mixing"])
        return cls(**values)

    def total_steps(self, epoch_steps: int) -> int:
        """Count the steps of the whole run.

        Parameters
        ----------
        epoch_steps : int
            Steps of an epoch.

        Returns
        -------
        int
            The number of steps.
        """
        return self.steps if self.epochs is None else self.epochs * epoch_steps


#: Settings that fit a kind of data: endless mixtures of whole stems, the songs that the code
#: makes, and the datasets of openunmix 1.3.0 with its published recipe.
PRESETS = {
    "stems": TrainingConfig(mixing=MixingConfig()),
    "synthetic": TrainingConfig(
        hidden_size=64,
        nb_layers=2,
        n_fft=2048,
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
    "classic": TrainingConfig(
        targets=("vocals",),
        hidden_size=512,
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
