"""Train Open-Unmix on one page: data, input statistics, networks, loop, model folder.

    python examples/minimal.py                 # two minutes on two cores, no data needed
    umx song.wav --model minimal-model         # separate with the result

What the networks compute is in openunmix/model/network.py, what the separator does with their
estimates in openunmix/filtering/gaussian.py. `umx-train` is this loop with everything that a long
training needs: your own tracks, validation, schedules, averaged weights, checkpoints, GPUs.
"""

import argparse

import numpy as np
import torch

from openunmix.data.synthetic import synthetic_song
from openunmix.model import Architecture
from openunmix.pretrained.config import SeparatorConfig
from openunmix.pretrained.folder import save_folder
from openunmix.transforms.fourier import STFTConfig, stft

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=300, help="updates of the weights")
parser.add_argument("--tracks", type=int, default=60, help="synthetic tracks to train on")
parser.add_argument("--output", default="minimal-model", help="model folder to write")
args = parser.parse_args()

TARGETS = ["vocals", "drums", "bass", "other"]
STFT = STFTConfig(n_fft=2048, n_hop=1024, sample_rate=44100)
BATCH, EXCERPT, TRACK = 8, 2 * 44100, 6 * 44100  # excerpts a step; samples
torch.manual_seed(0)

# Data: tracks as stems, (tracks, targets, channels, samples). Replace them with your own.
songs = [synthetic_song(np.random.default_rng(seed), TRACK) for seed in range(args.tracks)]
tracks = torch.stack([torch.stack([song[target] for target in TARGETS]) for song in songs])


def draw_batch():
    """Mix excerpts of random stems: each from a track, a time and at a gain of its own."""
    sources = torch.empty(BATCH, len(TARGETS), 2, EXCERPT)
    for index in np.ndindex(BATCH, len(TARGETS)):
        start = torch.randint(TRACK - EXCERPT, ()).item()
        stem = tracks[torch.randint(len(tracks), ()), index[1]]
        sources[index] = stem[:, start : start + EXCERPT] * torch.empty(()).uniform_(0.25, 1.25)
    return sources


def magnitude(waveform):
    """Magnitude spectrogram: (..., samples) to (..., bins, frames)."""
    return stft(waveform, STFT.n_fft, STFT.n_hop).abs()


# Networks: one per target. Another architecture is plugged in here, see docs/extending.md.
architecture = Architecture(hidden_size=128, nb_layers=2, bandwidth=16000, compression=0.25)
networks = torch.nn.ModuleDict({target: architecture.build(STFT) for target in TARGETS})

# Input statistics: mean and standard deviation of each bin over some mixtures.
mixtures = torch.stack([magnitude(draw_batch().sum(dim=1)) for _ in range(8)])
for network in networks.values():
    seen = network.compress(mixtures).movedim(-2, 0).flatten(1)  # (bins, all else)
    network.set_input_statistics(seen.mean(dim=1), seen.std(dim=1).clamp(min=1e-4))

# The loop: mean squared error between estimated and true magnitudes, summed over targets.
optimizer = torch.optim.Adam(networks.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
for step in range(args.steps):
    sources = draw_batch()
    mixture, reference = magnitude(sources.sum(dim=1)), magnitude(sources)
    losses = [
        (networks[target](mixture) - reference[:, j]).square().mean()
        for j, target in enumerate(TARGETS)
    ]
    loss = torch.stack(losses).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 20 == 0 or step == args.steps - 1:
        print(f"step {step + 1}/{args.steps}: loss {loss.item():.3f}", flush=True)

# The model folder: a file of weights per target, and what a separator has to know to use them.
config = SeparatorConfig(stft=STFT, channels=2, architecture=architecture)
save_folder(args.output, dict(networks.eval().items()), config)
print(f"model written to {args.output}")
