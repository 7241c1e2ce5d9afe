"""Training of Open-Unmix networks."""

from openunmix.training.config import TrainingConfig
from openunmix.training.loop import Trainer, fit

__all__ = ["Trainer", "TrainingConfig", "fit"]
