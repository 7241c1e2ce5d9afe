"""What openunmix 1.3.0 computed: networks, signals and results in ``golden/``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from openunmix.model import OpenUnmix, Separator

__all__ = ["COMBINATIONS", "TOLERANCE", "network", "separator", "tensor"]

with np.load(Path(__file__).parents[1] / "golden" / "openunmix_1_3_0.npz") as file:
    _ARRAYS = dict(file)

#: Largest difference by iterations: each one divides by small determinants in single precision,
#: which 1.3.0 and we do in another order.
TOLERANCE = {0: 1e-6, 1: 2e-5, 2: 2e-4}

#: Names of the separations, with the settings that each was made with.
COMBINATIONS = {
    f"niter{niter}_softmask{int(softmask)}_residual{int(residual)}_win{window}": {
        "niter": niter,
        "softmask": softmask,
        "residual": residual,
        "wiener_win_len": window,
    }
    for niter in (0, 1, 2)
    for softmask in (False, True)
    for residual in (False, True)
    for window in (40, None)
    if not (softmask and window is None)
}


def tensor(name):
    """Return an array of the file."""
    return torch.from_numpy(_ARRAYS[name])


def network(prefix):
    """Return the network whose weights have names that start with the prefix."""
    prefix += "/"
    state = {name.removeprefix(prefix): tensor(name) for name in _ARRAYS if name.startswith(prefix)}
    made = OpenUnmix(
        nb_bins=len(state["output_mean"]),
        nb_channels=len(state["fc3.weight"]) // len(state["output_mean"]),
        hidden_size=len(state["bn1.bias"]),
        unidirectional="lstm.weight_ih_l0_reverse" not in state,
        max_bin=len(state["input_mean"]),
    )
    made.load_state_dict(state)
    return made.eval()


def separator(**settings):
    """Return the separator of the stereo networks."""
    networks = {name: network(f"stereo/{name}") for name in ("a", "b")}
    return Separator(networks, n_fft=256, n_hop=64, **settings).eval()
