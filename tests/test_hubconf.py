"""``torch.hub`` runs the package from a bare checkout."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openunmix.model import OpenUnmix, Separator

ROOT = Path(__file__).parent.parent
NAMES = ["umx", "umxhq", "umxl", "umxs", "umxlive", "umxse", "umxses"]


def test_every_model_is_exported():
    content = runpy.run_path(str(ROOT / "hubconf.py"))
    assert content["dependencies"] == ["torch", "numpy"]
    exported = {name for name in content["__all__"] if callable(content[name])}
    assert exported == {*NAMES, *(f"{name}_spec" for name in NAMES)}


@pytest.mark.parametrize("name", ["umxhq", "umxs", "umxses"])
def test_separator_is_loaded(name):
    separator = torch.hub.load(str(ROOT), name, source="local", pretrained=False)
    assert isinstance(separator, Separator)


def test_networks_are_loaded():
    networks = torch.hub.load(
        str(ROOT), "umxse_spec", source="local", pretrained=False, targets=["speech"]
    )
    assert list(networks) == ["speech"]
    assert isinstance(networks["speech"], OpenUnmix)


def test_torch_and_numpy_are_all_it_needs(tmp_path):
    # 1.3.0 declared the same two packages, and then needed torchaudio and tqdm.
    script = f"""
import sys
import torch, torch.hub
for name in ("safetensors", "soundfile", "soxr", "av", "mutagen", "tqdm"):
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        del sys.modules[module]
    sys.modules[name] = None
separator = torch.hub.load({str(ROOT)!r}, "umxse", source="local", pretrained=False)
separator.freeze()
print(tuple(separator(torch.zeros(1, 1, 2000)).shape))
from openunmix.pretrained.folder import load_network
load_network({str(tmp_path / "vocals.safetensors")!r})
"""
    from helpers.weights_server import tiny_network

    from openunmix.pretrained.folder import save_network

    save_network(tmp_path, "vocals", tiny_network())
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 2, 1, 2000)"
