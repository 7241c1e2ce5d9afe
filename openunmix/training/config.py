"""Every setting of a training run, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training run.

    Attributes
    ----------
    targets : tuple of str
        The sources; one network is trained for each, all on the same mixtures.
    hidden_size, nb_layers, unidirectional, nb_channels
        Architecture of the networks, see :class:`openunmix.model.OpenUnmix`.
    sample_rate : int
        Hz.
    n_fft, n_hop : int
        Window and hop length of the STFT in samples.
    bandwidth : float
        Highest frequency in Hz that the networks see.
    duration : float
        Seconds of an excerpt.
    batch_size : int
        Excerpts a step.
    steps : int
        Updates of the weights in the whole run.
    learning_rate : float
        Peak learning rate of Adam.
    warmup : int
        Steps in which the learning rate rises linearly from 0.
    cooldown : float
        Fraction of the steps, at the end, in which it falls linearly to 0.
    weight_decay : float
        L2 penalty of Adam.
    clip : float
        Largest norm of the gradient of one network.
    average : float
        Decay of the exponential moving average of the weights; the average is what is validated
        and saved.
    seed : int
        Seed of the initial weights, the dropout and the mixtures.
    bfloat16 : bool
        Multiply matrices in bfloat16 (automatic mixed precision); weights stay float32.
    statistics_excerpts : int
        Mixtures from which the mean and the scale of the networks' input are taken.
    validate_every : int
        Steps between validations.
    save_every : int
        Steps between checkpoints.
    """

    targets: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    hidden_size: int = 256
    nb_layers: int = 3
    unidirectional: bool = False
    nb_channels: int = 2
    sample_rate: int = 44100
    n_fft: int = 4096
    n_hop: int = 1024
    bandwidth: float = 16000.0
    duration: float = 3.0
    batch_size: int = 8
    steps: int = 6000
    learning_rate: float = 1e-3
    warmup: int = 100
    cooldown: float = 0.3
    weight_decay: float = 1e-5
    clip: float = 5.0
    average: float = 0.998
    seed: int = 42
    bfloat16: bool = True
    statistics_excerpts: int = 300
    validate_every: int = 500
    save_every: int = 100

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them.

        Returns
        -------
        dict
            A value by name.
        """
        return {**asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> TrainingConfig:
        """Make the settings from :meth:`to_json`'s dictionary; unknown names are errors."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(settings.keys() - set(known))
        if unknown:
            raise ValueError(f"unknown training settings {unknown}; choose from {known}")
        return cls(**{**settings, "targets": tuple(settings.get("targets", cls.targets))})

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step: a linear rise, a plateau, a linear fall.

        Parameters
        ----------
        step : int
            The step, from 0 on.

        Returns
        -------
        float
            The rate for Adam.
        """
        rise = (step + 1) / max(self.warmup, 1)
        fall = (self.steps - step) / max(self.cooldown * self.steps, 1)
        return self.learning_rate * max(0.0, min(1.0, rise, fall))
