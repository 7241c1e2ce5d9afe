"""Tables of the known models, from the registry: columns, formats and rows for ``tables.py``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from openunmix.pretrained.registry import DEFAULT_MODEL, MODELS, ModelEntry, bundled_folder

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "data" / "published.json"

Content = tuple[list[str], list[str], list[list[str]]]


def known_models() -> Content:
    """Return the known models, a column for each."""
    entries = sorted(MODELS.values(), key=lambda entry: entry.name != DEFAULT_MODEL)
    described: dict[str, Callable[[ModelEntry], str]] = {
        "targets": lambda entry: ", ".join(entry.targets),
        "trained on": lambda entry: entry.trained_on,
        "licence of the weights": lambda entry: entry.licence,
        "sample rate, channels": lambda entry: (
            f"{entry.config.stft.sample_rate:.0f} Hz, {entry.config.channels}"
        ),
        "window, hop": lambda entry: f"{entry.config.stft.n_fft}, {entry.config.stft.n_hop}",
        "hidden size": lambda entry: str(entry.config.architecture.hidden_size),
        "size": _size,
        "from": _origin,
    }
    rows: list[list[str]] = [
        [name, *(describe(entry) for entry in entries)] for name, describe in described.items()
    ]
    names = ["", *(f"`{entry.name}`" for entry in entries)]
    return names, [""] * len(names), rows


def _size(entry: ModelEntry) -> str:
    """Return the size of the files of a model."""
    if not entry.bundled:
        return f"{(entry.size or 0) / 1e6:.0f} MB, downloaded"
    files = bundled_folder(entry).glob("*.safetensors")
    return f"{sum(file.stat().st_size for file in files) / 1e6:.0f} MB, in the package"


def _origin(entry: ModelEntry) -> str:
    """Return a link to where the weights come from."""
    if entry.bundled:
        return f"[recipes/{entry.name}](../recipes/{entry.name})"
    record = entry.url.removesuffix("/files")
    return f"[zenodo {record.rpartition('/')[2]}]({record})"


def front_page_models() -> Content:
    """Return the known models as the README lists them, a row for each."""
    published = json.loads(PUBLISHED.read_text("utf-8"))["tables"]["sdr"]["rows"]
    means = {row[0]: f"{row[-1]:.2f} dB, published" for row in published}
    rows: list[list[str]] = []
    for entry in sorted(MODELS.values(), key=lambda entry: entry.name != DEFAULT_MODEL):
        mark = " (default)" if entry.name == DEFAULT_MODEL else ""
        rate = " (16 kHz)" if entry.config.stft.sample_rate == 16000 else ""
        score = "measured here, by other measures: [models](docs/models.md)"
        rows.append(
            [
                f"`{entry.name}`{' (bundled)' if entry.bundled else mark}",
                ", ".join(entry.targets) + rate,
                entry.licence,
                score if entry.bundled else means.get(f"`{entry.name}`", ""),
            ]
        )
    columns = ["model", "separates", "licence of the weights", "mean SDR of its targets"]
    return columns, [""] * 4, rows


TABLES: dict[str, Callable[[], Content]] = {
    "models": known_models,
    "front-page-models": front_page_models,
}
