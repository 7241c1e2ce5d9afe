"""A small dataset for training, and settings with which it takes milliseconds."""

from __future__ import annotations

import torch

from helpers import sounds as synth
from openunmix.data import MixingDataset
from openunmix.model import Architecture
from openunmix.training import TrainingConfig
from openunmix.transforms.fourier import STFTConfig

RATE = 8000
CONFIG = TrainingConfig(
    targets=("low", "high"),
    architecture=Architecture(hidden_size=8, nb_layers=2, bandwidth=3000.0),
    stft=STFTConfig(n_fft=128, n_hop=64, sample_rate=RATE),
    batch_size=2,
    steps=7,
    warmup=2,
    precision="float32",
    statistics_excerpts=4,
    validate_every=4,
    save_every=2,
)


class Tones(MixingDataset):
    """Mixtures of a low and a high tone, of which every one is different.

    Parameters
    ----------
    length : int
        Items of an epoch.
    fail : callable, optional
        Called with epoch and index of every item before it is made, to raise what it wants.
    """

    target = "low"

    def __init__(self, length=6, samples=1000, fail=None, split="train"):
        super().__init__(None, float(RATE), samples / RATE)
        self.length = length
        self.samples = samples
        self.fail = fail
        self.split = split

    def __len__(self):
        return self.length

    def sources(self, index):
        if self.fail is not None:
            self.fail(self.epoch, index)
        generator = self.generator(index)
        torch.rand(index % 3)  # even a dataset that draws numbers must not matter
        low = synth.tone(self.samples, float(generator.uniform(150, 300)))
        high = synth.tone(self.samples, float(generator.uniform(1800, 2200)), amplitude=0.4)
        hiss = synth.noise(self.samples, seed=int(generator.integers(99999)), amplitude=0.01)
        return {"low": self.augment(low + hiss, generator), "high": self.augment(high, generator)}
