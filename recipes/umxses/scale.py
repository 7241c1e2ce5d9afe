"""Multiply what a network estimates: `scale.py FOLDER TARGET FACTOR OUTPUT`; all else is copied.

The factor goes into the last affine layer, so that the network's mask is multiplied by it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from openunmix.pretrained.folder import load_folder, save_folder

folder, output = Path(sys.argv[1]), Path(sys.argv[4])
scaled, factor = sys.argv[2], float(sys.argv[3])
model = load_folder(folder)
with torch.no_grad():
    model.networks[scaled].output_scale.mul_(factor)
    model.networks[scaled].output_mean.mul_(factor)
save_folder(output, model.networks, model.config)
