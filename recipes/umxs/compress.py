"""Let networks see compressed magnitudes: `compress.py FOLDER POWER DATA OUTPUT`.

Their first layers are fitted to mixtures of the stems in DATA/train, see `refit.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from refit import refit_folder

from openunmix.data import MixingConfig, MixtureDataset, StemLibrary, load_tracks

folder, data, output = (Path(sys.argv[i]) for i in (1, 3, 4))
sources = ["vocals", "drums", "bass", "other"]  # of the songs; the folder may have fewer networks
mixing = MixingConfig(levels="recorded", coherent=0.0)
library = StemLibrary(load_tracks(data / "train", sources, mixing.sample_rate), sources)
drawn = MixtureDataset(library, mixing, length=640, seed=7)
mixtures = (drawn[index].sum(dim=0) for index in range(len(drawn)))
refit_folder(folder, float(sys.argv[2]), mixtures, output)
