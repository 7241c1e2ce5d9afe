"""Let both networks see compressed magnitudes: `compress.py FOLDER POWER DATA OUTPUT`.

Their first layers are fitted to noisy speech, see `../umxs/refit.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from folders import save_folder
from mixtures import Material, NoisySpeech
from refit import refitted
from torch import Tensor

from openunmix.checkpoints import load_folder
from openunmix.stft import stft

folder, data, output = (Path(sys.argv[i]) for i in (1, 3, 4))
power = float(sys.argv[2])
model = load_folder(folder)
speech = NoisySpeech(Material(data / "train.npz"), count=800, duration=2.0, seed=7)


def magnitudes() -> Iterator[Tensor]:
    """Yield magnitudes (frames, channels, bins) of noisy speech."""
    for index in range(len(speech)):
        spectrum = stft(speech[index].mixture, model.config.n_fft, model.config.n_hop)
        yield spectrum.abs().permute(2, 0, 1)


networks = {t: refitted(network, magnitudes(), power) for t, network in model.networks.items()}
save_folder(output, networks, model.config)
