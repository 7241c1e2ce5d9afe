"""Average model folders: `average.py OUTPUT FOLDER=WEIGHT ... [TARGET:FOLDER ...]`.

A target that is named with a folder has its last layers from there alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from openunmix.pretrained.folder import is_shared, load_folder, save_folder

output, *arguments = sys.argv[1:]
weights = {Path(a.partition("=")[0]): float(a.partition("=")[2]) for a in arguments if "=" in a}
chosen = {a.partition(":")[0]: Path(a.partition(":")[2]) for a in arguments if "=" not in a}
models = {folder: load_folder(folder) for folder in {**weights, **dict.fromkeys(chosen.values())}}


def mean(target: str, name: str) -> Tensor:
    """Return the mean of a weight of a target."""
    own = not is_shared(name, models[next(iter(weights))].networks[target])
    used = {chosen[target]: 1.0} if target in chosen and own else weights
    values = [w * models[f].networks[target].state_dict()[name].double() for f, w in used.items()]
    return torch.stack(values).sum(dim=0) / sum(used.values())


networks, config = models[next(iter(weights))][:2]
means = {
    target: {name: mean(target, name).to(value) for name, value in network.state_dict().items()}
    for target, network in networks.items()
}
for target, network in networks.items():
    network.load_state_dict(means[target])
save_folder(output, networks, config)
