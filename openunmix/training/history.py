"""Records of a run: losses, scores and speed; and early stopping."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openunmix._files import replacing
from openunmix.utils import EarlyStopping

#: What differs in a record from run to run.
TIMINGS = ("steps_per_second", "data_loading", "seconds")


class History:
    """The records of a run, and the losses since the last one.

    A record has ``step``, ``epoch``, ``loss`` (by target, the mean since the last record),
    ``learning_rate``, ``steps_per_second``, ``data_loading`` (share of the time) and ``seconds``;
    after a validation, ``valid_loss`` (by target) and ``validation`` (scores) as well.
    """

    def __init__(self, targets: Sequence[str], patience: int = 0) -> None:
        self.records: list[dict[str, Any]] = []
        self.best_step = 0  # of the lowest validation loss
        self._stopping = EarlyStopping(patience=patience)
        self._targets = list(targets)
        self._clear()

    def _clear(self) -> None:
        """Clear the losses since the last record."""
        self._sums = dict.fromkeys(self._targets, 0.0)
        self._count = 0

    @property
    def best_loss(self) -> float | None:
        """The lowest validation loss, None before the first validation."""
        return self._stopping.best

    @property
    def bad_validations(self) -> int:
        """Validations since the lowest loss."""
        return self._stopping.num_bad_epochs

    @property
    def is_over(self) -> bool:
        """Whether the validation loss has not fallen for ``patience`` validations."""
        return 0 < self._stopping.patience <= self.bad_validations

    def add(self, losses: Mapping[str, float]) -> None:
        """Add the losses of a step, by target."""
        for target, loss in losses.items():
            self._sums[target] += loss
        self._count += 1

    def add_validation(self, loss: float, step: int) -> bool:
        """Add a validation loss, the mean over the targets; return whether it is the lowest."""
        before = self.best_loss
        self._stopping.step(loss)
        if self.best_loss == before:
            return False
        self.best_step = step
        return True

    def record(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add and return a record of these values and the mean losses."""
        loss = {target: total / max(self._count, 1) for target, total in self._sums.items()}
        record = {"step": values["step"], "epoch": values["epoch"], "loss": loss, **values}
        self.records.append(record)
        self._clear()
        return record

    def write(self, path: Path) -> None:
        """Write all records as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.records, indent=1), "utf-8")

    def summary(self, epoch_steps: int) -> dict[str, Any]:
        """Summary for ``<target>.json`` with the keys of 1.3.0; losses are means over targets."""
        valid = [record for record in self.records if "valid_loss" in record]
        return {
            "epochs_trained": self.records[-1].get("epoch", 0) if self.records else 0,
            "best_loss": self.best_loss,
            "best_epoch": self.best_step // epoch_steps,
            "train_loss_history": [mean(record["loss"]) for record in self.records],
            "valid_loss_history": [mean(record["valid_loss"]) for record in valid],
            "train_time_history": [record.get("seconds") for record in self.records],
            "num_bad_epochs": self.bad_validations,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for :meth:`load_state_dict`."""
        return {
            "records": self.records,
            "best_step": self.best_step,
            "best": self.best_loss,
            "bad": self.bad_validations,
            "sums": self._sums,
            "count": self._count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.records = state["records"]
        self.best_step = state["best_step"]
        self._stopping.best = state["best"]
        self._stopping.num_bad_epochs = state["bad"]
        self._sums, self._count = dict(state["sums"]), state["count"]


def mean(losses: Mapping[str, float]) -> float:
    """Mean over the targets."""
    return sum(losses.values()) / len(losses)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Read the records of the run in a folder; OSError if there are none."""
    path = folder / "history.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no records of a run; name the folder of one")
    records: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return records
