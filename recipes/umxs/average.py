"""Average weights before and after training: `average.py BEFORE AFTER SHARE OUTPUT`.

SHARE is the weight of AFTER, whose targets decide which networks are written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from folders import save_folder

from openunmix.checkpoints import load_folder

before, after = (load_folder(Path(folder)) for folder in sys.argv[1:3])
share, output = float(sys.argv[3]), Path(sys.argv[4])
for target, network in after.networks.items():
    start = before.networks[target].state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(start[name], 1 - share)
save_folder(output, after.networks, after.config)
