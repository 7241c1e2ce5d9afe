"""The training loop: networks for all targets, trained side by side on the same mixtures.

Everything random follows from the seed and the step, so that a run that was interrupted and
resumed from its checkpoint ends with the same weights as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset

from openunmix.data import Mixer
from openunmix.errors import CheckpointError, TrainingError
from openunmix.model import MaskNetwork
from openunmix.training.batches import (
    Batch,
    Batches,
    Examples,
    MixedBatches,
    collate,
    make_batches,
)
from openunmix.training.checkpoint import (
    find_state,
    load_state,
    save_legacy_files,
    save_model,
    save_state,
    state_file,
)
from openunmix.training.config import ARCHITECTURE, TrainingConfig
from openunmix.training.history import History, mean
from openunmix.training.parallel import Processes
from openunmix.training.trainer import Trainer

__all__ = ["Progress", "Scores", "fit"]

logger = logging.getLogger(__name__)

#: From the averaged networks to scores by name.
Scores = Callable[[dict[str, MaskNetwork]], dict[str, float]]


class Progress(NamedTuple):
    """How far a run is.

    Attributes
    ----------
    step, steps : int
        Steps done, and of the whole run.
    losses : dict of str to float
        Loss of every target in the last step.
    rate : float
        Steps a second since this process began.
    data_loading : float
        Share of that time in which it waited for data, from 0 to 1.
    """

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    data_loading: float


@torch.random.fork_rng(devices=[])
def fit(
    config: TrainingConfig,
    train: Dataset[Any] | Mixer,
    output: str | Path,
    valid: Dataset[Any] | None = None,
    *,
    networks: Mapping[str, MaskNetwork] | None = None,
    scores: Scores | None = None,
    device: str = "cpu",
    workers: int = 0,
    on_step: Callable[[Progress], object] | None = None,
    stop: Callable[[], bool] | None = None,
    on_record: Callable[[Trainer, dict[str, Any]], object] | None = None,
    metadata: Mapping[str, Any] | None = None,
    legacy_files: bool = False,
) -> Trainer:
    """Train, or go on training, until all steps are done.

    Parameters
    ----------
    config : TrainingConfig
        The settings. A run that is resumed may have other numbers of steps and epochs, another
        learning rate and another schedule.
    train : Dataset or Mixer
        What to train on, see :class:`~openunmix.training.batches.Examples`.
    output : str or Path
        Folder of the run: the model, ``checkpoint/`` to resume from, ``history.json``.
    valid : Dataset, optional
        What to take the validation loss from, item by item. Without it no run ends early.
    networks : mapping of str to MaskNetwork, optional
        Networks to train further, with their input statistics; new ones if not given.
    scores : callable, optional
        From the averaged networks to scores by name, called at every validation.
    device : str
        Where to train.
    workers : int
        Processes that make batches ahead.
    on_step : callable, optional
        Called with the :class:`Progress` after every step.
    stop : callable, optional
        Asked after every step whether to stop there. The run can be resumed.
    on_record : callable, optional
        Called with trainer and record after every record.
    metadata : mapping, optional
        What else to write to ``<target>.json``.
    legacy_files : bool
        Whether to write the files of openunmix 1.3.0, too.

    Returns
    -------
    Trainer
        With the trained networks, and their average, which is what to use.

    Raises
    ------
    TrainingError
        If a loss is not finite, there are no data, or a file cannot be written.
    CheckpointError
        If the state to resume from is damaged.
    """
    processes = Processes(device)
    batches = make_batches(train, config, processes, workers)
    trainer = Trainer(config, config.total_steps(batches.epoch_steps), networks, processes)
    run = _Run(trainer, batches, Path(output), metadata or {}, legacy_files)
    run.begin(new=networks is None)
    tests = None if valid is None else Examples(valid, config.targets, config.nb_channels)

    for batch in run.remaining():
        losses = trainer.update(batch)
        run.check(losses)
        run.history.add(losses)
        if on_step and processes.is_first:
            on_step(run.progress(losses))
        stopping = processes.any(stop is not None and stop())
        validating = run.is_at(config.validate_every)
        if validating or run.is_at(config.save_every) or trainer.step in config.keep:
            results = run.validate(tests, scores) if validating else {}
            record = run.record(results)
            if on_record and processes.is_first:
                on_record(trainer, record)
        elif stopping:
            run.save()
        if stopping or run.history.is_over:
            break
    processes.wait()  # until all is written
    return trainer


class _Run:
    """The course of a run: where it is, what is known about it, and its files."""

    def __init__(
        self,
        trainer: Trainer,
        batches: Batches | MixedBatches,
        output: Path,
        metadata: Mapping[str, Any],
        legacy_files: bool,
    ) -> None:
        self.trainer = trainer
        self.batches = batches
        self.output = output
        self.metadata = metadata
        self.legacy_files = legacy_files
        self.steps = trainer.schedule.steps
        self.history = History(trainer.config.targets, trainer.config.patience)
        self._is_best = False
        self._waited = 0.0
        self._paused = 0.0

    def begin(self, new: bool) -> None:
        """Go on from the state that there is, or begin: new networks need statistics."""
        found = find_state(self.output)
        self.trainer.processes.wait()  # all have looked before one writes
        if found is not None:
            state = load_state(found)
            check_resumed(found, state["config"], self.trainer.config)
            self.trainer.load_state_dict(state)
            if isinstance(state["history"], dict):
                self.history.load_state_dict(state["history"])
            else:  # of a version before 2.0
                self.history.records = state["history"]
            logger.info("resumed at step %d", self.trainer.step)
        else:
            if new:
                self.trainer.fit_input_normalisation(self.batches)
            if self.trainer.processes.is_first:
                with _writing(self.output, self.trainer.step):
                    self._write_state()
        self._recorded = self._begun = time.monotonic()
        self._first = self.trainer.step

    def remaining(self) -> Iterator[Batch]:
        """Make the batches that are left, and measure how long each took to come."""
        if self.history.is_over:
            return
        batches = self.batches.between(self.trainer.step, self.steps)
        while True:
            begun = time.monotonic()
            try:
                self._batch = next(batches)
            except StopIteration:
                return
            except (OSError, ValueError):  # of the data; the networks are fine
                self.save()
                raise
            self._waited += time.monotonic() - begun
            yield self._batch

    def check(self, losses: Mapping[str, float]) -> None:
        """Raise if training has diverged."""
        for target, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of {target!r} is {loss} in step {self.trainer.step} (items "
                    f"{self._batch.items} of epoch {self._epoch(self.trainer.step - 1)}); "
                    f"{state_file(self.output)} is from before: look at these items, or go on "
                    "from it with a lower --lr or --precision float32"
                )

    def _epoch(self, step: int) -> int:
        """Epochs that are complete after some steps."""
        return step // self.batches.epoch_steps

    def is_at(self, every: int) -> bool:
        """Whether this step ends a period of so many steps, 0 meaning an epoch, or the run."""
        step = self.trainer.step
        return step % (every or self.batches.epoch_steps) == 0 or step == self.steps

    def progress(self, losses: dict[str, float]) -> Progress:
        """Tell how far the run is."""
        elapsed = max(time.monotonic() - self._begun - self._paused, 1e-9)
        rate = (self.trainer.step - self._first) / elapsed
        return Progress(self.trainer.step, self.steps, losses, rate, self._waited / elapsed)

    def validate(self, tests: Examples | None, scores: Scores | None) -> dict[str, Any]:
        """Take loss and scores of the averaged networks."""
        begun = time.monotonic()
        results: dict[str, Any] = {}
        processes = self.trainer.processes
        if tests is not None:
            results["valid_loss"] = validation_loss(self.trainer, tests)
            loss = mean(results["valid_loss"])
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the validation loss is {loss} after step {self.trainer.step}; "
                    f"{state_file(self.output)} is from before, go on from it with a lower --lr"
                )
            self.trainer.schedule.step_plateau(loss)
            self._is_best = self.history.add_validation(loss, self.trainer.step)
        if scores is not None and processes.is_first:
            results["validation"] = scores(self.trainer.ema_networks())
        processes.wait()
        self._paused += time.monotonic() - begun
        return results

    def record(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write a record and all files."""
        progress, now = self.progress({}), time.monotonic()
        record = self.history.record(
            {
                "step": self.trainer.step,
                "epoch": self._epoch(self.trainer.step),
                "learning_rate": self.trainer.schedule.rate,
                "steps_per_second": round(progress.rate, 4),
                "data_loading": round(progress.data_loading, 4),
                "seconds": round(now - self._recorded, 3),
                **results,
            }
        )
        self._recorded = now
        self.save()
        return record

    def save(self) -> None:
        """Write the model, then the state: whatever is written twice is the same again."""
        if self.trainer.processes.is_first:
            with _writing(self.output, self.trainer.step):
                self._save()

    def _save(self) -> None:
        """Write the files of this process."""
        is_first = self.history.best_loss is None
        keep = self._is_best or is_first or not self.trainer.config.keep_best
        self._is_best = False
        if self.trainer.step in self.trainer.config.keep:
            save_model(self.output / str(self.trainer.step), self.trainer, self.metadata)
        if keep:
            summary = self.history.summary(self.batches.epoch_steps)
            save_model(self.output, self.trainer, {**self.metadata, **summary})
        if self.legacy_files:
            epoch = self._epoch(self.trainer.step)
            save_legacy_files(self.output, self.trainer, epoch, self.history.best_loss, keep)
        self._write_state()
        self.history.write(self.output / "history.json")

    def _write_state(self) -> None:
        """Write what a run is resumed from."""
        state = {**self.trainer.state_dict(), "history": self.history.state_dict()}
        save_state(state_file(self.output), state)


@contextmanager
def _writing(output: Path, step: int) -> Iterator[None]:
    """Say what is left of a run, and what to do, if files cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # the latter is what torch.save raises
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"{output}: the checkpoint of step {step} cannot be written ({reason}); the one before "
            "is as it was: make room there, and give the same command again"
        ) from error


def check_resumed(path: Path, before: Mapping[str, Any], config: TrainingConfig) -> None:
    """Raise if a state is of other networks; tell what else is another than before.

    Parameters
    ----------
    path : Path
        The file of the state.
    before : mapping
        The settings it was written with, see :meth:`TrainingConfig.to_json`.
    config : TrainingConfig
        Today's settings.

    Raises
    ------
    CheckpointError
        If the networks differ.
    """
    today = config.to_json()
    changed = {name: old for name, old in before.items() if today.get(name, old) != old}
    others = ", ".join(f"{name}={old}" for name, old in changed.items() if name in ARCHITECTURE)
    if others:
        raise CheckpointError(
            f"{path} is of a run with {others}; use the same, or another --output"
        )
    for name, old in changed.items():
        logger.warning("%s is %s now, and was %s until this step", name, today[name], old)


def validation_loss(trainer: Trainer, tests: Examples) -> dict[str, float]:
    """Mean loss of the averaged networks over a dataset, item by item.

    Parameters
    ----------
    trainer : Trainer
        The run; every process takes its share.
    tests : Examples
        The validation data.

    Returns
    -------
    dict of str to float
        The loss of every target.
    """
    processes = trainer.processes
    total = torch.zeros(len(trainer.config.targets), dtype=torch.float64)
    for index in range(processes.rank, len(tests), processes.world_size):
        losses = trainer.evaluate(collate([(index, tests[index])]))
        total += torch.tensor(list(losses.values()))
    total = total.to(processes.device).float()
    processes.average([total])
    means = total * processes.world_size / len(tests)
    return dict(zip(trainer.config.targets, means.tolist(), strict=True))
