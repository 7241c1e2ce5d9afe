"""The training loop: networks for all targets, trained side by side on the same mixtures.

Everything random follows from the seed and the step, so that a run that was interrupted and
resumed from its checkpoint ends with the same weights as one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from openunmix._files import replacing
from openunmix.errors import TrainingError
from openunmix.model import OpenUnmix
from openunmix.stft import bandwidth_to_max_bin, stft
from openunmix.training.config import TrainingConfig
from openunmix.training.statistics import input_statistics

__all__ = ["Trainer", "fit"]

logger = logging.getLogger(__name__)

Validate = Callable[[dict[str, OpenUnmix]], dict[str, float]]


class Trainer:
    """Networks in training: weights, their average, optimiser and position.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    mixtures : Dataset
        Gives a mixture's sources, (targets, channels, samples), for every index below
        ``config.steps * config.batch_size``.
    device : str
        Where to train.
    """

    def __init__(
        self, config: TrainingConfig, mixtures: Dataset[Tensor], device: str = "cpu"
    ) -> None:
        self.config = config
        self.mixtures = mixtures
        self.device = torch.device(device)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        torch.manual_seed(config.seed)
        self.networks = self._new_networks().to(self.device)
        self.average = self._new_networks().to(self.device)
        self.average.load_state_dict(self.networks.state_dict())
        self.average.requires_grad_(False).eval()
        self.optimizer = torch.optim.Adam(
            self.networks.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _new_networks(self) -> nn.ModuleDict:
        """Return a network of random weights for every target."""
        config = self.config
        max_bin = bandwidth_to_max_bin(config.sample_rate, config.n_fft, config.bandwidth)
        return nn.ModuleDict(
            {
                target: OpenUnmix(
                    nb_bins=config.n_fft // 2 + 1,
                    nb_channels=config.nb_channels,
                    hidden_size=config.hidden_size,
                    nb_layers=config.nb_layers,
                    unidirectional=config.unidirectional,
                    max_bin=max_bin,
                )
                for target in config.targets
            }
        )

    def standardise(self) -> None:
        """Set every network's input statistics from the first mixtures."""
        count = min(self.config.statistics_excerpts, len(self.mixtures))  # type: ignore[arg-type]
        spectra = (self._spectra(self.mixtures[i].to(self.device)) for i in range(count))
        mean, scale = input_statistics(spectrum.sum(dim=0).abs() for spectrum in spectra)
        with torch.no_grad():
            for network in [*_each(self.networks).values(), *self.averages().values()]:
                network.input_mean.copy_(-mean[: network.nb_bins])
                network.input_scale.copy_(1 / scale[: network.nb_bins])

    def _spectra(self, sources: Tensor) -> Tensor:
        """STFTs (..., bins, frames) of waveforms (..., samples)."""
        return stft(sources, self.config.n_fft, self.config.n_hop)

    def batches(self) -> Iterator[Tensor]:
        """Draw batches from the current step on.

        Returns
        -------
        iterator of Tensor [shape=(batch, targets, channels, samples)], real
            The sources of mixtures.
        """
        first = self.step * self.config.batch_size
        remaining = range(first, self.config.steps * self.config.batch_size)
        return iter(DataLoader(Subset(self.mixtures, remaining), self.config.batch_size))

    def update(self, sources: Tensor) -> dict[str, float]:
        """Take one step on one batch.

        Parameters
        ----------
        sources : Tensor [shape=(batch, targets, channels, samples)], real
            Waveforms; their sums are the mixtures.

        Returns
        -------
        dict of str to float
            The loss of every target before the step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(self.step)
        # (frames, batch, targets, channels, bins): frames first, as the networks work
        spectra = self._spectra(sources.to(self.device)).permute(4, 0, 1, 2, 3)
        mixture = spectra.sum(dim=2).abs()
        losses = {}
        torch.manual_seed(self.config.seed + self.step)  # for the dropout, on any device
        self.networks.train()
        for index, (target, network) in enumerate(_each(self.networks).items()):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
                estimate = network.mask(mixture) * mixture
            loss = relative_error(spectra[:, :, index].abs(), estimate, mixture)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), self.config.clip)
            losses[target] = float(loss.detach())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        update_average(self.average, self.networks, min(self.config.average, self.step / 100))
        return losses

    def averages(self) -> dict[str, OpenUnmix]:
        """Return the averaged networks, which are what to validate, save and use.

        Returns
        -------
        dict of str to OpenUnmix
            A network by target.
        """
        return _each(self.average)

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to go on as if nothing had happened.

        Returns
        -------
        dict
            Tensors and plain values.
        """
        return {
            "config": self.config.to_json(),
            "step": self.step,
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`.

        Parameters
        ----------
        state : dict
            Of a trainer with the same networks.
        """
        self.step = state["step"]
        self.history = state["history"]
        self.networks.load_state_dict(state["networks"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def _each(networks: nn.ModuleDict) -> dict[str, OpenUnmix]:
    """Networks by target, typed."""
    return {target: cast(OpenUnmix, network) for target, network in networks.items()}


def relative_error(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    """Mean squared error of magnitudes, relative to the power of each mixture.

    Parameters
    ----------
    reference, estimate, mixture : Tensor [shape=(frames, batch, channels, bins)], real
        Magnitudes. Quiet excerpts count as much as loud ones.

    Returns
    -------
    Tensor [shape=()], real
        The mean over the batch.
    """
    axes = (0, 2, 3)
    power = mixture.square().sum(dim=axes)
    error = (reference - estimate.float()).square().sum(dim=axes)
    return (error / (power + 1e-3 * power.mean() + 1e-8)).mean()


@torch.no_grad()
def update_average(average: nn.Module, networks: nn.Module, decay: float) -> None:
    """Move an average of weights and statistics a little towards their current values."""
    current = networks.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, as a whole or not at all."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain values only, never code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


@torch.random.fork_rng(devices=[])
def fit(
    config: TrainingConfig,
    mixtures: Dataset[Tensor],
    output: Path,
    validate: Validate | None = None,
    device: str = "cpu",
) -> Trainer:
    """Train, or go on training, until all steps are done.

    Parameters
    ----------
    config : TrainingConfig
        The settings. A run that is resumed may have another number of ``steps``.
    mixtures : Dataset
        See :class:`Trainer`.
    output : Path
        Folder of the run: ``training.chkpnt`` to resume from, ``history.json`` to look at.
    validate : callable, optional
        From the networks to scores by name, called every ``config.validate_every`` steps and at
        the end.
    device : str
        Where to train.

    Returns
    -------
    Trainer
        With the trained networks, and their average, which is what to use.

    Raises
    ------
    TrainingError
        If a loss is not finite.
    """
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "training.chkpnt"
    trainer = Trainer(config, mixtures, device)
    if checkpoint.exists():
        trainer.restore(load_state(checkpoint))
        logger.info("resumed at step %d", trainer.step)
    else:
        trainer.standardise()
    begun, recorded, sums = time.monotonic(), trainer.step, dict.fromkeys(config.targets, 0.0)
    for count, sources in enumerate(trainer.batches(), start=1):
        for target, loss in trainer.update(sources).items():
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of {target!r} is {loss} in step {trainer.step}; {checkpoint} is "
                    "from before, go on from it with a lower learning rate"
                )
            sums[target] += loss
        validating = trainer.step % config.validate_every == 0 or trainer.step == config.steps
        if validating or trainer.step % config.save_every == 0:
            steps = trainer.step - recorded
            record: dict[str, Any] = {
                "step": trainer.step,
                "loss": {target: total / steps for target, total in sums.items()},
                "steps_per_second": count / (time.monotonic() - begun),
            }
            recorded, sums = trainer.step, dict.fromkeys(config.targets, 0.0)
            if validate and validating:
                record["validation"] = validate(trainer.averages())
            trainer.history.append(record)
            logger.info("%s", json.dumps(record))
            save_state(checkpoint, trainer.state())
            with replacing(output / "history.json") as temporary:
                temporary.write_text(json.dumps(trainer.history, indent=1), "utf-8")
    return trainer
