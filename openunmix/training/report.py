"""What a run came to, on one page: learning curves, scores, settings, versions and data."""

from __future__ import annotations

import base64
import html
import importlib
import io
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from openunmix._files import replacing
from openunmix._version import __version__
from openunmix.errors import MissingExtraError
from openunmix.training.history import read_history
from openunmix.training.trainer import Trainer
from openunmix.training.validation import Song, separator_of
from openunmix.transforms.fourier import stft

__all__ = ["SCORES_NAME", "TensorBoard", "environment", "write_report"]

_SECONDS = 10  # of a song that are separated
# Pictures: rows and columns, samples of a window, and the lowest frequency in Hz.
_SIZE, _WINDOW, _LOWEST = (256, 640), 4096, 40.0


class TensorBoard:
    """Writes to a folder that ``tensorboard --logdir`` shows.

    Parameters
    ----------
    folder : Path
        Where to write.
    songs : sequence of Song
        What to separate after each validation.

    Raises
    ------
    MissingExtraError
        If the package tensorboard is not installed.
    """

    def __init__(self, folder: Path, songs: Sequence[Song] = ()) -> None:
        try:
            writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                "--tensorboard needs the package tensorboard; install openunmix[train]"
            ) from error
        self._writer = writer(str(folder))
        self._songs = list(songs)
        self._has_references = False

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is left."""
        self._writer.close()

    def record(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write a record; after a validation, excerpts of songs, too.

        Parameters
        ----------
        trainer : Trainer
            The run.
        record : dict
            See :class:`~openunmix.training.history.History`.
        """
        step = record["step"]
        for name in ("loss", "valid_loss", "validation"):
            for target, value in record.get(name, {}).items():
                self._writer.add_scalar(f"{name}/{target}", value, step)
        for name in ("learning_rate", "steps_per_second", "waiting"):
            self._writer.add_scalar(f"run/{name}", record[name], step)
        if "valid_loss" in record or "validation" in record:
            self._separate(trainer, step)
        self._writer.flush()

    @torch.no_grad()
    def _separate(self, trainer: Trainer, step: int) -> None:
        """Write how the songs are separated, as sound and as pictures."""
        config = trainer.config
        shape = (config.sample_rate, config.n_fft, config.n_hop, config.bridged)
        separator = separator_of(trainer.averages(), *shape)
        samples = _SECONDS * config.sample_rate
        for song in self._songs:
            estimates = separator(song.mix[None, :, :samples].to(trainer.device))[0]
            sources = song.sources[..., :samples]
            for target, source, estimate in zip(config.targets, sources, estimates, strict=True):
                tag = f"{song.name}/{target}"
                if not self._has_references:
                    self._add(f"{tag}, true", source, step, config.sample_rate)
                self._add(tag, estimate.cpu(), step, config.sample_rate)
        self._has_references = True

    def _add(self, tag: str, waveform: Tensor, step: int, sample_rate: int) -> None:
        """Write a waveform (channels, samples)."""
        sound = waveform.mean(dim=0).clamp(-1, 1)
        self._writer.add_audio(tag, sound, step, sample_rate=sample_rate)
        self._writer.add_image(tag, _picture(waveform, sample_rate), step, dataformats="HW")


def _picture(waveform: Tensor, sample_rate: int) -> Tensor:
    """Levels (rows, columns) from 80 dB below the loudest, 0, to that, 1.

    Frequencies rise from the bottom to the top by equal ratios, as musical notes do.
    """
    magnitude = stft(waveform, _WINDOW, _WINDOW // 4).abs().mean(dim=0)
    lowest = max(1.0, _LOWEST * _WINDOW / sample_rate)
    bins = torch.logspace(math.log10(lowest), math.log10(len(magnitude) - 1), _SIZE[0])
    picture = magnitude[bins.round().long().flip(0)]
    picture = functional.interpolate(picture[None, None], _SIZE, mode="bilinear")[0, 0]
    level = 20 * (picture / picture.max().clamp(min=1e-8)).clamp(min=1e-4).log10()
    return level / 80 + 1


#: File of the scores at the end, by target, beside the records.
SCORES_NAME = "scores.json"

_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem } img { max-width: 100% } table { border-collapse: collapse }
td, th { text-align: left; padding: .1rem 1rem .1rem 0; vertical-align: top }"""


def environment() -> dict[str, str]:
    """Tell with what a run is made.

    Returns
    -------
    dict of str to str
        Versions of the package, Python, torch and numpy, and the commit, if the package is in a
        git checkout.
    """
    found = {
        "openunmix": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found["commit"] = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found["commit"] = ""
    return found


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and ``curves.png`` from the records of a run.

    Parameters
    ----------
    folder : Path
        The folder of the run, with ``history.json`` and the ``<target>.json`` of its networks.

    Returns
    -------
    Path
        The page, which needs no other file.

    Raises
    ------
    MissingExtraError
        If the package matplotlib is not installed.
    OSError
        If there are no records.
    ValueError
        If they are empty.
    """
    history = read_history(folder)
    if not history:
        raise ValueError(f"{folder / 'history.json'} has no records yet; train a few steps first")
    picture = _curves(history)
    with replacing(folder / "curves.png") as temporary:
        temporary.write_bytes(picture)
    described = folder / f"{next(iter(history[-1]['loss']))}.json"
    details = json.loads(described.read_text("utf-8")) if described.is_file() else {}
    scored = folder / SCORES_NAME
    scores = json.loads(scored.read_text("utf-8")) if scored.is_file() else None
    page = folder / "report.html"
    with replacing(page) as temporary:
        temporary.write_text(
            _page(folder.resolve().name, history, details, scores, picture), "utf-8"
        )
    return page


def _curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw losses, scores and learning rate against steps, as PNG."""
    figure_module = _matplotlib()
    has_scores = any(record.get("validation") for record in history)
    panels = ["loss", *(["validation"] if has_scores else []), "learning_rate"]
    figure = figure_module.Figure(figsize=(9, 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for target in history[-1]["loss"]:
        [line] = axes[0].plot(*_series(history, "loss", target), label=target)
        axes[0].plot(
            *_series(history, "valid_loss", target), "--", marker=".", color=line.get_color()
        )
    is_validated = any(record.get("valid_loss") for record in history)
    axes[0].set_ylabel("loss (dashed: validation)" if is_validated else "loss")
    axes[0].legend()
    if has_scores:
        for target in history[-1]["loss"]:
            axes[1].plot(*_series(history, "validation", target), marker=".", label=target)
        axes[1].set_ylabel("SDR (dB)")
    axes[-1].plot(*_series(history, "learning_rate", None))
    axes[-1].set_ylabel("learning rate")
    axes[-1].set_xlabel("step")
    for panel in axes:
        panel.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _series(
    history: Sequence[Mapping[str, Any]], key: str, target: str | None
) -> tuple[list[int], list[float]]:
    """Return steps and values of a quantity, where it was recorded."""
    steps, values = [], []
    for record in history:
        value = record.get(key)
        if target is not None and value is not None:
            value = value.get(target)
        if value is not None:
            steps.append(record["step"])
            values.append(value)
    return steps, values


def _matplotlib() -> Any:
    """Import the optional package; it draws without a screen."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingExtraError(
            "learning curves need the package matplotlib; install openunmix[train]"
        ) from error


def _page(
    name: str,
    history: Sequence[Mapping[str, Any]],
    details: Mapping[str, Any],
    scores: Mapping[str, float] | None,
    picture: bytes,
) -> str:
    """Return the page."""
    last = history[-1]
    if scores is None:
        scores = next((r["validation"] for r in reversed(history) if r.get("validation")), {})
    valid: dict[str, float] = next(
        (r["valid_loss"] for r in reversed(history) if r.get("valid_loss")), {}
    )
    result = {
        target: f"loss {loss:.5g}"
        + (f", validation loss {valid[target]:.5g}" if target in valid else "")
        + (f", SDR {scores[target]:.2f} dB" if target in scores else "")
        for target, loss in last["loss"].items()
    }
    seconds = sum(record.get("seconds") or 0 for record in history)
    course = {
        "steps": last["step"],
        "epochs": last["epoch"],
        "time": f"{seconds / 3600:.2f} h",
        "steps per second": last["steps_per_second"],
        "waiting for data": f"{last['waiting']:.0%}",
    }
    sections = {
        "Result": result,
        "Course": course,
        "Data": details.get("data", {}),
        "Settings": details.get("config", {}),
        "Options": details.get("args", {}),
        "Made with": details.get("environment", {}),
    }
    tables = "".join(f"<h2>{title}</h2>{_table(rows)}" for title, rows in sections.items() if rows)
    image = base64.b64encode(picture).decode()
    title = html.escape(f"Training of {name}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        f'<img alt="Learning curves" src="data:image/png;base64,{image}">{tables}</html>\n'
    )


def _table(rows: Mapping[str, Any]) -> str:
    """Return names and values as a table."""
    cells = (
        f"<tr><th>{html.escape(str(key))}<td>"
        + html.escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in rows.items()
        if value not in (None, "")
    )
    return f"<table>{''.join(cells)}</table>"
