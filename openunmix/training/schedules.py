"""The learning rate over a run: a function of the step, times the decays of a plateau.

It is no chain of torch's schedulers, because those keep the rate and its base in their state, so
that a run resumed with another ``--lr``, ``--steps`` or ``--schedule`` would go on with the old
ones, and because ``LambdaLR`` overwrites what ``ReduceLROnPlateau`` has set.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from openunmix.training.config import TrainingConfig

_COOLDOWN = 10  # validations after a decay that a plateau does not count, as in 1.3.0
_PLATEAU_STATE = ("best", "num_bad_epochs", "cooldown_counter")


def scheduled_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Learning rate of a step, from 0 on, without the decays of a plateau."""
    factor = (step + 1) / max(config.warmup, 1)  # linear warm-up
    if config.schedule == "cosine":  # half a period, to 0 at the end of the run
        factor = min(factor, (1 + math.cos(math.pi * min(step / steps, 1))) / 2)
    elif config.schedule == "trapezoid":  # linearly to 0 in the last `cooldown` of the run
        factor = min(factor, (steps - step) / max(config.cooldown * steps, 1))
    return config.learning_rate * max(0.0, min(1.0, factor))


class Schedule:
    """Sets the learning rate of an optimiser for a run of ``steps``."""

    def __init__(
        self, config: TrainingConfig, optimizer: torch.optim.Optimizer, steps: int
    ) -> None:
        self.config = config
        self.steps = steps
        self._optimizer = optimizer
        # The plateau decays the rate of this optimiser, which starts at 1: the factor of all rates.
        self._decay = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self._plateau = ReduceLROnPlateau(
            self._decay,
            factor=config.decay_factor,
            patience=config.decay_patience,
            cooldown=_COOLDOWN,
        )

    @property
    def rate(self) -> float:
        """The learning rate that was set last."""
        return float(self._optimizer.param_groups[0]["lr"])

    def set_rate(self, step: int) -> None:
        """Set the learning rate of a step, from 0 on."""
        factor = self._decay.param_groups[0]["lr"]
        for group in self._optimizer.param_groups:
            group["lr"] = factor * scheduled_rate(self.config, step, self.steps)

    def step_plateau(self, loss: float) -> None:
        """Add a validation loss, and decay the rate at the end of a plateau."""
        if self.config.schedule == "plateau":
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for :meth:`load_state_dict`."""
        state = {name: getattr(self._plateau, name) for name in _PLATEAU_STATE}
        return {**state, "factor": self._decay.param_groups[0]["lr"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self._decay.param_groups[0]["lr"] = state["factor"]
        for name in _PLATEAU_STATE:
            setattr(self._plateau, name, state[name])
