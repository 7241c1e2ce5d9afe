"""Let networks see compressed magnitudes: `compress.py FOLDER POWER DATA OUTPUT`.

Their first layers are fitted to mixtures of the stems in DATA/train, see `refit.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from folders import save_folder
from refit import refitted
from torch import Tensor

from openunmix.checkpoints import load_folder
from openunmix.data import MixingConfig, MixtureDataset, StemLibrary, load_tracks
from openunmix.stft import stft

folder, data, output = (Path(sys.argv[i]) for i in (1, 3, 4))
power = float(sys.argv[2])
model = load_folder(folder)
targets, config = list(model.networks), model.config
rate = round(config.sample_rate)
library = StemLibrary(load_tracks(data / "train", targets, rate), targets)
mixing = MixingConfig(sample_rate=rate, levels="recorded", coherent=0.0)
mixtures = MixtureDataset(library, mixing, length=640, seed=7)


def magnitudes() -> Iterator[Tensor]:
    """Yield magnitudes (frames, channels, bins) of mixtures."""
    for index in range(len(mixtures)):
        spectrum = stft(mixtures[index].sum(dim=0), config.n_fft, config.n_hop)
        yield spectrum.abs().permute(2, 0, 1)


networks = {t: refitted(network, magnitudes(), power) for t, network in model.networks.items()}
save_folder(output, networks, config)
