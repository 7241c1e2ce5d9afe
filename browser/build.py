"""Build what is not JavaScript of the page: models, player, service worker. `make site` calls it.

``browser/src`` is bundled by esbuild before this; all comes together in ``build/site``, static
files that any web server can serve.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx

from openunmix.predict.export import export_onnx
from openunmix.pretrained import load_separator, resolve_model
from openunmix.pretrained.registry import BUNDLED_MODEL
from openunmix.web._document import player_page

HERE = Path(__file__).parent
ROOT = HERE.parent
SITE = ROOT / "build" / "site"
STATIC = ROOT / "openunmix" / "web" / "static"
RUNTIME = HERE / "node_modules" / "onnxruntime-web" / "dist"

#: The first is the default: the smallest that loses at most 0.05 dB.
PRECISIONS = ("int8", "float16")
_SHARED = ("common.css", "app.css", "common.js", "files.js", "icon.svg")
_RUNTIME = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs")
_PACKAGES = ("onnxruntime-web", "onnxruntime-common", "fft.js", "client-zip")


def write_model(separator: Any, path: Path, precision: str, about: dict[str, Any]) -> Any:
    """Export networks with all inputs required; return what the page has to know of the file.

    onnxruntime-web accepts no inputs that may be left out.
    """
    export_onnx(separator, path, precision, about)
    model = onnx.load(path)
    inputs = {value.name for value in model.graph.input}
    defaults = [weight for weight in model.graph.initializer if weight.name in inputs]
    for weight in defaults:
        model.graph.initializer.remove(weight)
    onnx.save(model, path)
    described = {entry.key: entry.value for entry in model.metadata_props}
    numbers = {
        key: json.loads(described[key]) for key in ("targets", "n_fft", "n_hop", "sample_rate")
    }
    states = [list(weight.dims) for weight in defaults if weight.name.startswith("state_")]
    return {
        "name": described.get("model", ""),
        "licence": described.get("licence", ""),
        "precision": precision,
        "file": path.name,
        "size": path.stat().st_size,
        "states": states,
        **numbers,
    }


def write_models(folder: Path) -> None:
    """Write the bundled model in each precision, and ``site.json``."""
    model = resolve_model(BUNDLED_MODEL)
    about = {"model": model.name, "licence": model.licence, "sha256": dict(model.sha256)}
    separator = load_separator(model)
    models = [
        write_model(separator, folder / f"{model.name}-{precision}.onnx", precision, about)
        for precision in PRECISIONS
    ]
    (folder / "site.json").write_text(json.dumps({"models": models}, indent=1), "utf-8")


def write_licences(path: Path) -> None:
    """Join the licences of the packages that are in the page."""
    texts = []
    for name in _PACKAGES:
        folder = HERE / "node_modules" / name
        version = json.loads((folder / "package.json").read_text("utf-8"))
        texts.append(f"{name} {version['version']}: {version['license']}\n")
        texts += [file.read_text("utf-8") for file in sorted(folder.glob("LICEN[CS]E*"))]
    path.write_text("\n".join(texts), "utf-8")


def write_service_worker(folder: Path) -> None:
    """Write the service worker, with the files that it keeps."""
    optional = {f"{BUNDLED_MODEL}-{precision}.onnx" for precision in PRECISIONS[1:]}
    path = folder / "service-worker.js"
    files = sorted(file for file in folder.iterdir() if file.name not in {path.name, *optional})
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    names = [".", *(file.name for file in files if file.name != "index.html")]
    script = (HERE / "static" / path.name).read_text("utf-8")
    script = script.replace("[/* files */]", json.dumps(names))
    script = script.replace("/* hash */", digest.hexdigest()[:12])
    path.write_text(script, "utf-8")


def main() -> None:
    """Fill ``build/site``, in which the bundles of esbuild are already."""
    for name in _SHARED:
        shutil.copy(STATIC / name, SITE)
    for name in _RUNTIME:
        shutil.copy(RUNTIME / name, SITE)
    for file in (HERE / "static").iterdir():
        shutil.copy(file, SITE)
    (SITE / "player.html").write_text(player_page("Open-Unmix", None), "utf-8")
    write_licences(SITE / "licences.txt")
    write_models(SITE)
    write_service_worker(SITE)


def main_vectors() -> None:
    """Write the small network of the test vectors to ``build/browser``, for ``npm test``."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from write_port_vectors import separator

    folder = ROOT / "build" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    about = write_model(separator(), folder / "tiny.onnx", "float32", {})
    (folder / "tiny.json").write_text(json.dumps(about), "utf-8")


if __name__ == "__main__":
    main()
    main_vectors()
