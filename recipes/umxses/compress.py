"""Let both networks see compressed magnitudes: `compress.py FOLDER POWER DATA OUTPUT`.

Their first layers are fitted to noisy speech, see `refit.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mixtures import Material, NoisySpeech
from refit import refit_folder

folder, data, output = (Path(sys.argv[i]) for i in (1, 3, 4))
speech = NoisySpeech(Material(data / "train.npz"), count=800, duration=2.0, seed=7)
mixtures = (speech[index].mixture for index in range(len(speech)))
refit_folder(folder, float(sys.argv[2]), mixtures, output)
