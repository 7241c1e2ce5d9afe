"""Training of Open-Unmix networks."""

from openunmix.training.batches import Batch, Example
from openunmix.training.config import PRESETS, TrainingConfig
from openunmix.training.loop import Progress, fit
from openunmix.training.trainer import Trainer

__all__ = ["PRESETS", "Batch", "Example", "Progress", "Trainer", "TrainingConfig", "fit"]
