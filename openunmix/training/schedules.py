"""How the learning rate changes in the course of a run."""

from __future__ import annotations

import math
from typing import Any

import torch

from openunmix.training.config import TrainingConfig

__all__ = ["Schedule", "scheduled_rate"]

# Validations after a decay in which 1.3.0 does not count.
_REST = 10


def scheduled_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Learning rate of a step, as far as it follows from the step alone.

    Parameters
    ----------
    config : TrainingConfig
        The settings. After a linear rise of ``warmup`` steps, ``constant`` and ``plateau`` stay,
        ``cosine`` falls along half a period to 0, and ``trapezoid`` stays and falls linearly to 0
        in the last ``cooldown`` of the run.
    step : int
        The step, from 0 on.
    steps : int
        Steps of the whole run.

    Returns
    -------
    float
        The rate for Adam.

    Examples
    --------
    >>> config = TrainingConfig(learning_rate=1.0, warmup=0, schedule="cosine")
    >>> [round(scheduled_rate(config, step, 4), 2) for step in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    factor = (step + 1) / max(config.warmup, 1)
    if config.schedule == "cosine":
        factor = min(factor, (1 + math.cos(math.pi * min(step / steps, 1))) / 2)
    elif config.schedule == "trapezoid":
        factor = min(factor, (steps - step) / max(config.cooldown * steps, 1))
    return config.learning_rate * max(0.0, min(1.0, factor))


class Schedule:
    """Sets the learning rate of an optimiser.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    optimizer : torch.optim.Optimizer
        Whose rate is set.
    steps : int
        Steps of the whole run.
    """

    def __init__(
        self, config: TrainingConfig, optimizer: torch.optim.Optimizer, steps: int
    ) -> None:
        self.config = config
        self.steps = steps
        self._optimizer = optimizer
        # It decays this optimiser's rate, 1 at first, by which the rate of a step is multiplied.
        self._decay = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._decay,
            factor=config.decay_factor,
            patience=config.decay_patience,
            cooldown=_REST,
        )

    @property
    def rate(self) -> float:
        """The learning rate that was set last."""
        return float(self._optimizer.param_groups[0]["lr"])

    def set_rate(self, step: int) -> None:
        """Set the learning rate of a step.

        Parameters
        ----------
        step : int
            The step, from 0 on.
        """
        factor = self._decay.param_groups[0]["lr"]
        for group in self._optimizer.param_groups:
            group["lr"] = factor * scheduled_rate(self.config, step, self.steps)

    def step_plateau(self, loss: float) -> None:
        """Take the loss of a validation, and end a plateau if there is one.

        Parameters
        ----------
        loss : float
            The loss.
        """
        if self.config.schedule == "plateau":
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs.

        Returns
        -------
        dict
            Plain values.
        """
        plateau = self._plateau
        return {
            "factor": self._decay.param_groups[0]["lr"],
            "best": plateau.best,
            "bad": plateau.num_bad_epochs,
            "rest": plateau.cooldown_counter,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Parameters
        ----------
        state : dict
            What it returned.
        """
        self._decay.param_groups[0]["lr"] = state["factor"]
        self._plateau.best = state["best"]
        self._plateau.num_bad_epochs = state["bad"]
        self._plateau.cooldown_counter = state["rest"]
