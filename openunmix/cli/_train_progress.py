"""Progress of ``umx-train`` on stderr."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm

from openunmix.training import Progress, Trainer
from openunmix.training.history import mean


class Display(AbstractContextManager["Display"]):
    """A progress bar on a terminal, and a line for every record; nothing if ``quiet``."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._last: Progress | None = None

    def _start(self, total: int, unit: str, initial: int = 0) -> None:
        """Draw the bar, once."""
        if self._bar is None:
            self._bar = tqdm(
                total=total,
                initial=initial,
                unit=unit,
                disable=self._quiet or None,  # None: only on a terminal
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
            )

    def step(self, progress: Progress) -> None:
        """Update the bar."""
        self._last = progress
        self._start(progress.steps, "step", progress.step - 1)
        losses = " ".join(f"{target} {loss:.3f}" for target, loss in progress.losses.items())
        self._bar.set_postfix_str(
            f"{losses}, data loading {progress.data_loading:.0%}", refresh=False
        )
        self._bar.update(progress.step - self._bar.n)

    def record(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Print a record."""
        if not self._quiet and self._last is not None:
            tqdm.write(line_of(record, self._last), file=sys.stderr)

    def checked(self, done: int, total: int) -> None:
        """Update the bar of a check of the dataset."""
        self._start(total, "track")
        self._bar.update(done - self._bar.n)

    def __exit__(self, *exception: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def line_of(record: dict[str, Any], progress: Progress) -> str:
    """Return a record as a line."""
    remaining = (progress.steps - progress.step) / max(progress.rate, 1e-9)
    parts = [
        f"step {progress.step}/{progress.steps}",
        f"loss {mean(record['loss']):.4f} ({_values(record['loss'], '.3f')})",
        f"lr {record['learning_rate']:.2g}",
        f"{progress.rate:.2f} steps/s, data loading {progress.data_loading:.0%}",
        f"ETA {tqdm.format_interval(remaining)}",
    ]
    if "valid_loss" in record:
        valid = record["valid_loss"]
        parts.insert(2, f"validation {mean(valid):.4f} ({_values(valid, '.3f')})")
    if "validation" in record:
        parts.append(f"SDR {_values(record['validation'], '.2f')} dB")
    return "  ".join(parts)


def _values(values: dict[str, float], form: str) -> str:
    """Return values with their names."""
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())
