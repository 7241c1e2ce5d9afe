"""Write the bundled model as ONNX from its weights, with numpy and onnx: torch is not needed.

``python lite/build_model.py FILE.onnx [PRECISION]``; the build of the package calls `write_model`.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from safetensors.numpy import load_file

LICENCE = "research and personal, non-commercial use"
TARGETS = ("vocals", "drums", "bass", "other")


def export_modules(checkout: Path) -> tuple[Any, Any, Any, Any]:
    """Import the modules that need no torch: graph, layers, open_unmix, and matrices of four bits.

    The ``__init__`` of the packages around them import it, so empty modules stand in for those.
    """
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
    packages = ("", ".predict", ".predict.export", ".pretrained")
    for name in (f"openunmix{package}" for package in packages):
        module = ModuleType(name)
        module.__path__ = [str(checkout.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    try:
        names = ("graph", "layers", "open_unmix")
        found = [importlib.import_module(f"openunmix.predict.export.{name}") for name in names]
        found.append(importlib.import_module("openunmix.pretrained._int4"))
    finally:
        for name in filter(_is_ours, list(sys.modules)):
            del sys.modules[name]
        sys.modules.update(before)
    return found[0], found[1], found[2], found[3]


def _is_ours(name: str) -> bool:
    return name.split(".")[0] == "openunmix"


def write_model(checkout: Path, path: Path, precision: str = "float16") -> None:
    """Write the graph of all targets, checked by ``onnx.checker``."""
    weights = checkout / "weights" / "umxs"
    settings = json.loads((weights / "separator.json").read_text("utf-8"))
    graph_module, layers, open_unmix, int4 = export_modules(checkout)
    graph = graph_module.Graph(precision)
    channels, bins = settings["nb_channels"], settings["nfft"] // 2 + 1
    x, chunk = layers.add_inputs(graph, channels, bins)
    networks = [int4.unpack_state(load_weights(weights, target)) for target in TARGETS]
    trunk_of = [0] * len(TARGETS)
    masks = open_unmix.add_open_unmix(graph, networks, trunk_of, channels, False, x, chunk)
    layers.add_masks(graph, masks, channels, bins)
    path.write_bytes(graph.model(metadata(settings, checkout)).SerializeToString())


def load_weights(folder: Path, target: str) -> dict[str, np.ndarray]:
    """Load what the files have of a network, by the names of its state dict."""
    return load_file(folder / "shared.safetensors") | load_file(folder / f"{target}.safetensors")


def metadata(settings: dict[str, Any], checkout: Path) -> dict[str, str]:
    """Describe the model as ``umx-models export`` does."""
    version: dict[str, str] = {}
    exec((checkout / "_version.py").read_text("utf-8"), version)
    described = {
        "targets": TARGETS,
        "n_fft": settings["nfft"],
        "n_hop": settings["nhop"],
        "sample_rate": settings["sample_rate"],
        "nb_channels": settings["nb_channels"],
        "causal": settings.get("unidirectional", False),
        "sha256": {t: settings["sha256"][f"{t}.safetensors"] for t in TARGETS},
    }
    texts = {"model": "umxs", "licence": LICENCE, "openunmix": version["__version__"]}
    return texts | {key: json.dumps(value) for key, value in described.items()}


if __name__ == "__main__":
    write_model(Path(__file__).parents[1] / "openunmix", Path(sys.argv[1]), *sys.argv[2:])
