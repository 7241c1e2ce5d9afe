"""One step of training, and the state between steps.

:meth:`Trainer.update` is the step: STFT, masks, losses, gradients, Adam, moving average.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from openunmix.data import BatchAugmentation
from openunmix.errors import TrainingError
from openunmix.model import MaskNetwork
from openunmix.model.sharing import masks
from openunmix.predict._runtime import usable_precision
from openunmix.training.batches import Batch, Batches, MixedBatches
from openunmix.training.config import TrainingConfig
from openunmix.training.losses import MULTI_TARGET_LOSSES, SINGLE_TARGET_LOSSES
from openunmix.training.networks import input_statistics, new_networks
from openunmix.training.parallel import Processes
from openunmix.training.schedules import Schedule
from openunmix.training.spectrograms import SpectrogramBatch, equalise
from openunmix.transforms.fourier import stft

logger = logging.getLogger(__name__)

# Excerpts all of which are only silent if the data are wrong.
_ENOUGH = 100
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """Networks in training: weights, their moving average, optimiser, schedule and position.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    steps : int
        Steps of the whole run.
    networks : mapping of str to MaskNetwork, optional
        Networks to fine-tune; new ones if not given.
    processes : Processes, optional
        Where to train; on the CPU if not given.
    """

    def __init__(
        self,
        config: TrainingConfig,
        steps: int,
        networks: Mapping[str, MaskNetwork] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.config = config
        self.processes = processes or Processes()
        self.device = self.processes.device
        self.step = 0  #: Steps done.
        torch.manual_seed(config.seed)
        begin = nn.ModuleDict(copy.deepcopy(dict(networks)) if networks else new_networks(config))
        #: Networks by target, and the exponential moving average of their weights.
        self.networks = begin.to(self.device)
        self.ema = copy.deepcopy(self.networks).requires_grad_(False).eval()
        self.optimizer = torch.optim.Adam(
            self.networks.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        augmentation = BatchAugmentation(sample_rate=round(config.stft.sample_rate))
        self._augmentation = augmentation if config.augment else None
        self.schedule = Schedule(config, self.optimizer, steps)
        self.precision = usable_precision(config.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds of a network for one frame of all excerpts of a batch."""
        weights = sum(p.numel() for p in self.networks.parameters()) / len(self.config.targets)
        return weights * self.config.batch_size / self.processes.world_size

    def fit_input_normalisation(self, batches: Batches | MixedBatches) -> None:
        """Fit the input normalisation of all networks to the first mixtures, not augmented."""
        count = self.config.statistics_excerpts
        if not count:
            return
        loudest = torch.zeros(len(self.config.targets))
        try:
            mean, scale = input_statistics(self._magnitudes(batches, count, loudest))
        except ValueError as error:
            raise TrainingError(f"the training mixtures are silent: {error}") from error
        _check_silence(dict(zip(self.config.targets, loudest.tolist(), strict=True)), count)
        for network in [*_each(self.networks).values(), *self.ema_networks().values()]:
            network.set_input_statistics(mean, scale)

    def _magnitudes(
        self, batches: Batches | MixedBatches, count: int, loudest: Tensor
    ) -> Iterator[Tensor]:
        """Yield compressed magnitudes of mixtures; peaks of sources (targets,) go to `loudest`."""
        network = next(iter(self.ema_networks().values()))
        for batch in batches.statistics(count):
            peaks = batch.sources.abs().amax(dim=(0, 2, 3)).cpu()
            torch.maximum(loudest, peaks, out=loudest)
            for mixture in batch.mixture.to(self.device):
                yield network.compress(self._stft(mixture).abs())

    def _stft(self, waveforms: Tensor) -> Tensor:
        """STFT (..., bins, frames) of waveforms (..., samples)."""
        return stft(waveforms, self.config.stft.n_fft, self.config.stft.n_hop)

    def _spectrograms(self, batch: Batch) -> SpectrogramBatch:
        """STFT of a batch, frames first, as recurrent layers take them."""
        return SpectrogramBatch(
            self._stft(batch.mixture).permute(3, 0, 1, 2),  # (frames, batch, channels, bins)
            self._stft(batch.sources).permute(4, 0, 1, 2, 3),  # ... targets before channels
            self.config.stft,
            batch.mixture.shape[-1],
            batch.bandwidth,
        )

    def update(self, batch: Batch) -> dict[str, float]:
        """Take one step on this process's share of a batch; return every target's loss before."""
        self.schedule.set_rate(self.step)
        # All random numbers of a step follow from its number, on any device: dropout from the
        # global generator, augmentation from one on the CPU.
        seed = self.config.seed + self.step * self.processes.world_size + self.processes.rank
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)

        batch = batch.to(self.device)
        if self._augmentation is not None:
            batch = self._augmentation(batch, generator)
        spectrograms = self._spectrograms(batch)
        if self.config.equalise:
            spectrograms = equalise(spectrograms, self.config.equalise, generator)

        self.networks.train()
        losses = torch.stack(self._losses(self.networks, spectrograms, training=True))
        self._average_over_processes(losses)
        self.scaler.unscale_(self.optimizer)  # before clipping, which compares true norms
        self._clip()
        self.scaler.step(self.optimizer)  # no step if fp16 gradients overflow; the scale shrinks
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

        self.step += 1
        # The decay grows over the first steps, so that the random initial weights are forgotten.
        update_ema(self.ema, self.networks, min(self.config.ema_decay, self.step / 100))
        return dict(zip(self.config.targets, losses.tolist(), strict=True))

    def _losses(
        self, networks: nn.ModuleDict, spectrograms: SpectrogramBatch, training: bool
    ) -> list[Tensor]:
        """Loss of each target; in training, gradients accumulate in the weights.

        Networks that have nothing in common are taken one by one, which takes less memory.
        """
        config, models = self.config, list(_each(networks).values())
        options = config.architecture
        together = options.bridged or options.shared or config.loss in MULTI_TARGET_LOSSES
        found: list[Tensor] = []
        for first in [0] if together else range(len(models)):
            group = models if together else [models[first]]
            with torch.autocast(
                self.device.type,
                _DTYPES[self.precision],
                enabled=training and self.precision != "float32",
            ):
                estimated = masks(group, spectrograms.magnitude, options.bridged)
            # Powers and sums over a spectrogram exceed half precision.
            estimated = [mask.float() for mask in estimated]
            if config.loss in MULTI_TARGET_LOSSES:
                terms = MULTI_TARGET_LOSSES[config.loss](spectrograms, estimated)
            else:
                loss = SINGLE_TARGET_LOSSES[config.loss]
                terms = [loss(spectrograms, mask, first + j) for j, mask in enumerate(estimated)]
            if training:
                total = torch.stack(terms).sum()
                self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
            found += [term.detach() for term in terms]
        return found[: len(models)]  # after these come combinations of sources

    def _average_over_processes(self, losses: Tensor) -> None:
        """Average losses, gradients and running statistics over processes.

        The mean of gradients of equal shares is the gradient of the whole batch.
        """
        gradients = [p.grad for p in self.networks.parameters() if p.grad is not None]
        running = [b for b in self.networks.buffers() if b.is_floating_point()]
        self.processes.average([losses, *gradients, *running])

    def _clip(self) -> None:
        """Limit the gradient norm of each network, or of all if they share layers."""
        if self.config.clip:
            shared = self.config.architecture.shared
            for network in [self.networks] if shared else self.networks.values():
                nn.utils.clip_grad_norm_(network.parameters(), self.config.clip)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, float]:
        """Loss of the averaged networks on a batch, by target."""
        spectrograms = self._spectrograms(batch.to(self.device))
        losses = self._losses(self.ema, spectrograms, training=False)
        return dict(zip(self.config.targets, torch.stack(losses).tolist(), strict=True))

    def ema_networks(self) -> dict[str, MaskNetwork]:
        """Return the averaged networks by target, which are what to validate, save and use."""
        return _each(self.ema)

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to continue to the last bit."""
        optimizer = self.optimizer.state_dict()
        # Keys of JSON are strings.
        moments = {str(index): moment for index, moment in optimizer["state"].items()}
        return {
            "config": self.config.to_json(),
            "step": self.step,
            "networks": _weights(self.networks),
            "ema": _weights(self.ema),
            "optimizer": {**optimizer, "state": moments},
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the :meth:`state_dict` of a trainer with the same networks."""
        self.step = state["step"]
        complete = not self.config.architecture.shared  # else each shared weight is there once
        self.networks.load_state_dict(state["networks"], strict=complete)
        self.ema.load_state_dict(state["ema"], strict=complete)
        optimizer = state["optimizer"]
        moments = {int(index): moment for index, moment in optimizer["state"].items()}
        # The state has the weight decay of the former run; a resumed one may have another.
        groups = [
            {**group, "weight_decay": self.config.weight_decay}
            for group in optimizer["param_groups"]
        ]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"] and self.scaler.is_enabled():  # the precision may have changed
            self.scaler.load_state_dict(state["scaler"])


def _check_silence(peaks: Mapping[str, float], count: int) -> None:
    """Raise TrainingError, or warn after few excerpts, if targets are silent in all of them."""
    silent = ", ".join(target for target, peak in peaks.items() if not peak)
    if not silent:
        return
    found = f"{silent}: silent in all of {count} training excerpts; umx-train --check shows more"
    if count >= _ENOUGH:
        raise TrainingError(found)
    logger.warning(found)


def _each(networks: nn.ModuleDict) -> dict[str, MaskNetwork]:
    """Networks by target, typed."""
    return {target: cast(MaskNetwork, network) for target, network in networks.items()}


def _weights(networks: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name, each of them once, also where networks share it."""
    named = (*networks.named_parameters(), *networks.named_buffers())
    saved = networks.state_dict()  # without the buffers that are not persistent
    return {name: value.detach() for name, value in named if name in saved}


@torch.no_grad()
def update_ema(ema: nn.Module, networks: nn.Module, decay: float) -> None:
    r"""Update a moving average: :math:`\bar\theta \leftarrow d\bar\theta + (1 - d)\theta`.

    Buffers, the running statistics, are averaged as well; whole numbers are copied.
    torch.optim.swa_utils.get_ema_multi_avg_fn has no growing decay, and truncates whole numbers.
    """
    current = networks.state_dict()
    for name, value in _weights(ema).items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
