"""The report of a training run as one HTML page: learning curves, scores, settings, versions."""

from __future__ import annotations

import base64
import importlib
import io
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openunmix._files import replacing
from openunmix._pages import render
from openunmix._version import __version__
from openunmix.errors import MissingExtraError
from openunmix.training.history import read_history

#: File with the final scores by target, beside the records.
SCORES_NAME = "scores.json"


def environment() -> dict[str, str]:
    """Versions of the package, Python, torch and numpy, and the commit of a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return {
        "openunmix": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "commit": commit,
    }


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and ``curves.png`` from the records in the folder of a run."""
    history = read_history(folder)
    if not history:
        raise ValueError(
            f"{folder / 'history.json'} has no records yet; train for a few steps first"
        )
    curves = _curves(history)
    with replacing(folder / "curves.png") as temporary:
        temporary.write_bytes(curves)
    details = _read(folder / f"{next(iter(history[-1]['loss']))}.json")
    scores = _read(folder / SCORES_NAME) or _last_of(history, "validation")
    page = render(
        "training.html",
        name=folder.resolve().name,
        curves=base64.b64encode(curves).decode(),
        sections=_sections(history, details, scores),
    )
    path = folder / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if there is none."""
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def _curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Losses, scores and learning rate against steps, as PNG."""
    try:
        module = importlib.import_module("matplotlib.figure")  # the part that needs no display
    except ImportError as error:
        raise MissingExtraError(
            "learning curves need the package matplotlib; install openunmix[train]"
        ) from error
    has_scores = any(record.get("validation") for record in history)
    panels = ["loss", *(["validation"] if has_scores else []), "learning_rate"]
    figure = module.Figure(figsize=(9, 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for target in history[-1]["loss"]:
        [line] = axes[0].plot(*_series(history, "loss", target), label=target)
        dashed = {"linestyle": "--", "marker": ".", "color": line.get_color()}
        axes[0].plot(*_series(history, "valid_loss", target), **dashed)
    is_validated = any(record.get("valid_loss") for record in history)
    axes[0].set_ylabel("loss (dashed: validation)" if is_validated else "loss")
    axes[0].legend()
    if has_scores:
        for target in history[-1]["loss"]:
            axes[1].plot(*_series(history, "validation", target), marker=".", label=target)
        axes[1].set_ylabel("SDR (dB)")
    axes[-1].plot([r["step"] for r in history], [r["learning_rate"] for r in history])
    axes[-1].set_ylabel("learning rate")
    axes[-1].set_xlabel("step")
    for panel in axes:
        panel.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _series(
    history: Sequence[Mapping[str, Any]], key: str, target: str
) -> tuple[list[int], list[float]]:
    """Series of a quantity: the steps at which it was recorded, and its values."""
    values = {record["step"]: (record.get(key) or {}).get(target) for record in history}
    recorded = {step: value for step, value in values.items() if value is not None}
    return list(recorded), list(recorded.values())


def _sections(
    history: Sequence[Mapping[str, Any]],
    details: Mapping[str, Any],
    scores: Mapping[str, float],
) -> dict[str, Mapping[str, Any]]:
    """Tables of the report: names and values by title."""
    last = history[-1]
    valid_loss = _last_of(history, "valid_loss")
    result = {
        target: f"loss {loss:.5g}"
        + (f", validation loss {valid_loss[target]:.5g}" if target in valid_loss else "")
        + (f", SDR {scores[target]:.2f} dB" if target in scores else "")
        for target, loss in last["loss"].items()
    }
    seconds = sum(record.get("seconds") or 0 for record in history)
    course = {
        "steps": last["step"],
        "epochs": last["epoch"],
        "time": f"{seconds / 3600:.2f} h",
        "steps per second": last["steps_per_second"],
        "data loading": f"{last['data_loading']:.0%}",
    }
    return {
        "Result": result,
        "Course": course,
        "Data": details.get("data", {}),
        "Settings": details.get("config", {}),
        "Options": details.get("args", {}),
        "Environment": details.get("environment", {}),
    }


def _last_of(history: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, float]:
    """Most recent values of a quantity by target; empty if it was never recorded."""
    return next((record[key] for record in reversed(history) if record.get(key)), {})
