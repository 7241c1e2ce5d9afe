"""
Add a target of your own
========================

Nothing in the package knows which targets there are: a target is a name, and sounds of it. Here
a network learns to find a whistle in front of a band, from sounds that are made on the spot.
"""

# %%
# Sounds
# ------
# A dataset has a length, and the sources of an item. Every random number comes from
# ``self.generator(index)``, so that items follow from seed, epoch and index.

import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from openunmix.data import MixingDataset, synthetic_song
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import Architecture
from openunmix.pretrained import load_separator
from openunmix.training import PRESETS, fit
from openunmix.transforms.fourier import STFTConfig, stft
from openunmix.web import show

RATE, SAMPLES = 44100, 2 * 44100


def whistle(generator, samples):
    """A whistled tune: notes of a third of a second with vibrato, somewhere in the stereo image."""
    time = np.arange(samples) / RATE
    steps = generator.integers(0, 13, size=samples * 3 // RATE + 2)
    pitch = 1000 * 2 ** (steps[(3 * time).astype(int)] / 12)
    pitch *= 1 + 0.01 * np.sin(2 * np.pi * generator.uniform(4, 7) * time)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (0.6 + 0.4 * np.sin(6 * np.pi * time))
    pan = generator.uniform(0.3, 0.7)
    return 0.12 * torch.tensor(np.stack([(1 - pan) * tone, pan * tone]), dtype=torch.float32)


class Whistles(MixingDataset):
    """A whistle in front of a synthetic band."""

    target = "whistle"

    def __init__(self, split="train", songs=24):
        super().__init__(None, sample_rate=RATE, split=split)
        seeds = [(len(split), number) for number in range(songs)]
        bands = [synthetic_song(np.random.default_rng(seed), 3 * SAMPLES) for seed in seeds]
        self.bands = [sum(band.values()) for band in bands]

    def __len__(self):
        return 64

    def sources(self, index):
        """Return the sources of an item."""
        generator = self.generator(index)
        band = self.bands[generator.integers(len(self.bands))]
        start = generator.integers(2 * SAMPLES)
        return {
            "whistle": whistle(generator, SAMPLES),
            "band": band[:, start : start + SAMPLES],
        }


# %%
# Training
# --------
# Two small networks, for the whistle and for the band.

config = replace(
    PRESETS["synthetic"],
    targets=("whistle", "band"),
    architecture=Architecture(hidden_size=64, nb_layers=1, bandwidth=8000, compression=0.25),
    stft=STFTConfig(n_fft=2048, n_hop=1024),
    batch_size=8,
    steps=150,
)
folder = Path(tempfile.mkdtemp(), "whistle")
trainer = fit(config, Whistles(), folder)
print(f"{trainer.step} steps; files:", *sorted(path.name for path in folder.iterdir()))

# %%
# A mixture it has not heard
# --------------------------

song = Whistles("valid", songs=2).sources(3)
mixture = sum(song.values())
separator = load_separator(folder, niter=1)
with torch.inference_mode():
    estimates = separator.to_dict(separator(mixture[None]))
for name, stem in song.items():
    print(
        f"{name}: {sdr_mdx21(stem, estimates[name][0]):.1f} dB, "
        f"mixture itself {sdr_mdx21(stem, mixture):.1f} dB"
    )

figure, axes = plt.subplots(1, 3, sharey=True, figsize=(10, 3.4), layout="constrained")
pictures = {
    "mixture": mixture,
    "whistle, estimate": estimates["whistle"][0],
    "whistle, true": song["whistle"],
}
for axis, (title, waveform) in zip(axes, pictures.items(), strict=True):
    magnitude = stft(waveform.mean(dim=0), 2048, 512).abs() + 1e-5
    axis.imshow(
        20 * magnitude.log10().numpy(),
        origin="lower",
        aspect="auto",
        vmin=-40,
        vmax=30,
        cmap="magma",
        extent=(0, SAMPLES / RATE, 0, RATE / 2000),
    )
    axis.set(title=title, ylim=(0, 5), xlabel="seconds")
_ = axes[0].set(ylabel="kHz")

# %%
# Listen
# ------

show(estimates, RATE, mixture=mixture, title="A whistle in front of a band")
