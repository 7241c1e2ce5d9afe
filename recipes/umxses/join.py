"""Join model folders: `join.py FOLDER ... OUTPUT`; later networks replace earlier ones."""

from __future__ import annotations

import sys
from pathlib import Path

from openunmix.pretrained.folder import load_folder, save_folder

*folders, output = map(Path, sys.argv[1:])
models = [load_folder(folder) for folder in folders]
networks = {target: network for model in models for target, network in model.networks.items()}
save_folder(output, networks, models[0].config)
