"""The training loop: a network for each target, trained side by side on the same mixtures.

:func:`fit` is the loop, in the order in which things happen; ``trainer.py`` has the step, and
``_Run`` below what surrounds it: resuming, validation, records and files. Everything random follows
from seed and step, so that a run that was interrupted ends with the same weights, to the last bit,
as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset

from openunmix.data import Mixer
from openunmix.errors import TrainingError
from openunmix.model import MaskNetwork
from openunmix.training.batches import Batch, Batches, Examples, MixedBatches, make_batches
from openunmix.training.checkpoint import (
    check_resumed,
    load_state,
    save_legacy_files,
    save_model,
    save_state,
    state_file,
)
from openunmix.training.config import TrainingConfig
from openunmix.training.history import History, mean
from openunmix.training.parallel import Processes, step_threads
from openunmix.training.trainer import Trainer
from openunmix.training.validation import validation_loss

logger = logging.getLogger(__name__)

#: From the averaged networks to scores by name.
Scores = Callable[[dict[str, MaskNetwork]], dict[str, float]]


class Progress(NamedTuple):
    """Progress of a run."""

    step: int  # steps done
    steps: int  # of the whole run
    losses: dict[str, float]  # of every target in the last step
    rate: float  # steps a second since this process began
    data_loading: float  # share of that time spent waiting for data, from 0 to 1


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
    """Train, or resume training, until all steps are done.

    Parameters
    ----------
    config : TrainingConfig
        The settings. A run that is resumed may have others than before, but the same targets,
        architecture and STFT.
    train : Dataset or Mixer
        What to train on, see :class:`~openunmix.training.batches.Examples`.
    output : str or Path
        Folder of the run: the model, ``checkpoint/`` to resume from, ``history.json``.
    valid : Dataset, optional
        What to compute the validation loss on, item by item. Without it no run ends early.
    networks : mapping of str to MaskNetwork, optional
        Networks to fine-tune, with their input normalisation; new ones if not given.
    scores : callable, optional
        From the averaged networks to scores by name, called at every validation.
    device : str
        Where to train.
    workers : int
        Processes that load ahead.
    on_step, stop, on_record : callable, optional
        Called with the :class:`Progress` after every step; after every step, to end the run, which
        can be resumed, by returning True; with trainer and record after every record.
    metadata : mapping, optional
        Added to ``<target>.json``.
    legacy_files : bool
        Write the files of openunmix 1.3.0, too.

    Returns
    -------
    Trainer
        With the trained networks, and their exponential moving average, which is what to use.

    Raises
    ------
    TrainingError
        If a loss is not finite, there are no data, or a file cannot be written.
    CheckpointError
        If the state to resume from is damaged, or of other networks.
    """
    processes = Processes(device)
    batches = make_batches(train, config, processes, workers)
    trainer = Trainer(config, config.total_steps(batches.epoch_steps), networks, processes)
    run = _Run(trainer, batches, Path(output), metadata or {}, legacy_files)
    run.resume_or_start(new=networks is None)
    tests = None if valid is None else Examples(valid, config.targets, config.nb_channels)

    for batch in run.remaining_batches():
        with step_threads(processes.device, trainer.multiply_adds):
            losses = trainer.update(batch)
        run.check_finite(losses, batch)
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
    processes.wait()  # until all files are written
    return trainer


@dataclass
class _Run:
    """What surrounds the steps of a run: its position, its records and its files."""

    trainer: Trainer
    batches: Batches | MixedBatches
    output: Path
    metadata: Mapping[str, Any]
    legacy_files: bool
    _is_best: bool = False
    _loading: float = 0.0  # seconds
    _validating: float = 0.0  # seconds

    def __post_init__(self) -> None:
        self.steps = self.trainer.schedule.steps
        self.history = History(self.trainer.config.targets, self.trainer.config.patience)

    def resume_or_start(self, new: bool) -> None:
        """Resume from the checkpoint, or start: fit the input normalisation of new networks."""
        path = state_file(self.output)
        is_resumed = path.is_file()
        self.trainer.processes.wait()  # all have looked before one writes
        if is_resumed:
            state = load_state(path)
            check_resumed(path, state["config"], self.trainer.config)
            self.trainer.load_state_dict(state)
            self.history.load_state_dict(state["history"])
            logger.info("resumed at step %d", self.trainer.step)
        else:
            if new:
                self.trainer.fit_input_normalisation(self.batches)
            if self.trainer.processes.is_first:
                with _writing(self.output, self.trainer.step):
                    self._write_state()
        self._recorded = self._begun = time.monotonic()
        self._first = self.trainer.step

    def remaining_batches(self) -> Iterator[Batch]:
        """Yield the batches of the remaining steps, and measure the time spent waiting for them."""
        if self.history.is_over:
            return
        batches = self.batches.between(self.trainer.step, self.steps)
        while True:
            begun = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (OSError, ValueError):  # of the data; the networks are fine
                self.save()
                raise
            self._loading += time.monotonic() - begun
            yield batch

    def check_finite(self, losses: Mapping[str, float], batch: Batch) -> None:
        """Raise TrainingError if training has diverged."""
        for target, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of {target!r} is {loss} in step {self.trainer.step} (items "
                    f"{batch.items} of epoch {self._epoch(self.trainer.step - 1)}); "
                    f"{state_file(self.output)} is from before: check these items, or resume "
                    "from it with a lower --lr or --precision float32"
                )

    def _epoch(self, step: int) -> int:
        """Epochs that are complete after a step."""
        return step // self.batches.epoch_steps

    def is_at(self, every: int) -> bool:
        """Whether this step ends a period of so many steps (0: an epoch), or the run."""
        step = self.trainer.step
        return step % (every or self.batches.epoch_steps) == 0 or step == self.steps

    def progress(self, losses: dict[str, float]) -> Progress:
        """Return the progress, without the time of validations."""
        elapsed = max(time.monotonic() - self._begun - self._validating, 1e-9)
        rate = (self.trainer.step - self._first) / elapsed
        return Progress(self.trainer.step, self.steps, losses, rate, self._loading / elapsed)

    def validate(self, tests: Examples | None, scores: Scores | None) -> dict[str, Any]:
        """Return validation loss and scores of the averaged networks, for a record."""
        begun = time.monotonic()
        results: dict[str, Any] = {}
        processes = self.trainer.processes
        if tests is not None:
            results["valid_loss"] = validation_loss(self.trainer, tests)
            loss = mean(results["valid_loss"])
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the validation loss is {loss} after step {self.trainer.step}; "
                    f"{state_file(self.output)} is from before, resume from it with a lower --lr"
                )
            self.trainer.schedule.step_plateau(loss)
            self._is_best = self.history.add_validation(loss, self.trainer.step)
        if scores is not None and processes.is_first:
            results["validation"] = scores(self.trainer.ema_networks())
        processes.wait()
        self._validating += time.monotonic() - begun
        return results

    def record(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Add a record, and write all files."""
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
        """Write the model, then the state: a model without its state is written again.

        Where only the best model is wanted, others are not written.
        """
        if not self.trainer.processes.is_first:
            return
        config, step, best = self.trainer.config, self.trainer.step, self.history.best_loss
        keep = self._is_best or best is None or not config.keep_best
        self._is_best = False
        with _writing(self.output, step):
            if step in config.keep:
                save_model(self.output / str(step), self.trainer, self.metadata)
            if keep:
                summary = self.history.summary(self.batches.epoch_steps)
                save_model(self.output, self.trainer, {**self.metadata, **summary})
            if self.legacy_files:
                save_legacy_files(self.output, self.trainer, self._epoch(step), best, keep)
            self._write_state()
            self.history.write(self.output / "history.json")

    def _write_state(self) -> None:
        """Write what a run is resumed from."""
        state = {**self.trainer.state_dict(), "history": self.history.state_dict()}
        save_state(state_file(self.output), state)


@contextmanager
def _writing(output: Path, step: int) -> Iterator[None]:
    """Translate errors of files that cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # the latter is what torch.save raises
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"{output}: the checkpoint of step {step} cannot be written ({reason}); the previous "
            "one is intact: free some space, and run the same command again"
        ) from error
