"""Join model folders: `join.py FOLDER ... OUTPUT`; later networks replace earlier ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from openunmix.checkpoints import load_folder, save_config, save_network

*folders, output = map(Path, sys.argv[1:])
models = [load_folder(folder) for folder in folders]
networks = {target: network for model in models for target, network in model.networks.items()}
for target, network in networks.items():
    save_network(output, target, network)
save_config(output, replace(models[0].config, sha256={}))
