"""From datasets to batches: what is drawn in which step, and by which process.

The order of an epoch follows from seed and epoch, and an item from seed, epoch and index. So any
step can be the first one, and neither workers nor processes change what is drawn. Mixtures of stems
are made on the device by a :class:`~openunmix.data.Mixer`.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openunmix._signals import ENDING
from openunmix.data import Batch, Mixer, MixingDataset, UnmixDataset
from openunmix.data.recordings import to_channels
from openunmix.errors import OpenUnmixError, TrainingError
from openunmix.training.config import TrainingConfig
from openunmix.training.parallel import Processes

__all__ = ["Batch", "Batches", "Example", "Examples", "MixedBatches", "collate", "make_batches"]


class Example(NamedTuple):
    """A mixture and its sources. Datasets of one's own may return it too."""

    mixture: Tensor  # (channels, samples)
    sources: Tensor  # (targets, channels, samples), in the order of the targets
    #: Bandwidth of each source in Hz (targets,), as it was recorded; infinite for no limit.
    bandwidth: Tensor | None = None


class Examples(Dataset[Example]):
    """Any dataset as examples for some targets, all of them with so many channels.

    Its items are an :class:`Example`, or the sources in the order of the targets (targets,
    channels, samples), or a pair of mixture and target. Of a
    :class:`~openunmix.data.MixingDataset`, any of its sources can be the targets.
    """

    def __init__(self, dataset: Dataset[Any], targets: Sequence[str], channels: int) -> None:
        if isinstance(dataset, UnmixDataset) and (dataset.channels or 0) > max(2, channels):
            # Mixed down where the names of the channels are known.
            mixed_down = copy.copy(dataset)
            mixed_down.channels = channels
            dataset = mixed_down
        self.dataset = dataset
        self.targets = list(targets)
        self.channels = channels

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, if the dataset has epochs."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def without_augmentations(self) -> Examples:
        """Return the same examples as they were recorded, of a copy of the dataset."""
        if not isinstance(self.dataset, UnmixDataset):
            return self
        dataset = copy.copy(self.dataset)
        dataset.source_augmentations = None
        return Examples(dataset, self.targets, self.channels)

    def __getitem__(self, index: int) -> Example:
        """Return example ``index``."""
        if isinstance(self.dataset, MixingDataset) and len(self.targets) > 1:
            example = self._mixed(self.dataset.sources(index))
        else:
            item = self.dataset[index]
            if isinstance(item, Tensor):
                example = Example(item.sum(dim=0), item)
            elif isinstance(item, Example):
                example = item
            else:
                mixture, target = item
                example = Example(mixture, target[None])
        if len(example.sources) != len(self.targets):
            raise ValueError(
                f"item {index} has {len(example.sources)} sources for the targets {self.targets}"
            )
        return Example(
            to_channels(example.mixture, self.channels),
            torch.stack([to_channels(s, self.channels) for s in example.sources]),
            self._bandwidth(index) if example.bandwidth is None else example.bandwidth,
        )

    def _bandwidth(self, index: int) -> Tensor | None:
        """Bandwidth of each target, if the dataset knows of limits."""
        if not hasattr(self.dataset, "bandwidths"):
            return None
        known: dict[str, float] = self.dataset.bandwidths(index)
        bands = [known.get(target, torch.inf) for target in self.targets]
        return torch.tensor(bands) if min(bands) < torch.inf else None

    def _mixed(self, sources: dict[str, Tensor]) -> Example:
        """Return the sum of all sources, and those that are targets."""
        named = {
            name if name in self.targets else Path(name).stem: s for name, s in sources.items()
        }
        missing = [target for target in self.targets if target not in named]
        if missing:
            raise ValueError(
                f"the dataset has no source {' or '.join(map(repr, missing))}; it has "
                f"{', '.join(named)}"
            )
        chosen = torch.stack([named[target] for target in self.targets])
        return Example(torch.stack(list(sources.values())).sum(dim=0), chosen)


class _Guarded(Dataset[Any]):
    """Examples with their indices, or the error that came instead.

    An error that a worker raises would arrive with the worker's traceback in its message.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, index: int) -> tuple[int, Example] | Exception:
        try:
            return index, self.examples[index]
        except (OpenUnmixError, ValueError) as error:
            return error


def collate(items: Sequence[tuple[int, Example]]) -> Batch:
    """Stack examples with their indices, cut to the shortest."""
    indices, examples = zip(*items, strict=True)
    bands = [torch.inf if e.bandwidth is None else e.bandwidth for e in examples]
    if all(e.bandwidth is None for e in examples):
        bandwidth = None
    else:
        count = len(examples[0].sources)
        bandwidth = torch.stack([torch.as_tensor(band).expand(count) for band in bands])
    samples = min(example.mixture.shape[-1] for example in examples)
    return Batch(
        torch.stack([example.mixture[..., :samples] for example in examples]),
        torch.stack([example.sources[..., :samples] for example in examples]),
        bandwidth,
        list(indices),
    )


def _collate(items: list[tuple[int, Example] | Exception]) -> Batch | Exception:
    """Stack examples, or return the first error."""
    good = [item for item in items if not isinstance(item, Exception)]
    errors = [item for item in items if isinstance(item, Exception)]
    return errors[0] if errors else collate(good)


def _ignore_interrupts(worker: int) -> None:
    """Leave signals of the terminal, which reach all processes, to the one that writes."""
    for number in set(ENDING) - {signal.SIGTERM}:  # by which torch ends its workers
        signal.signal(number, signal.SIG_IGN)


class Batches:
    """The batches of a dataset, of which process ``rank`` of ``world_size`` gets its share.

    ``batch_size`` and the order, which follows from ``seed``, are those of all processes; so many
    ``workers`` load ahead.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if not len(examples):
            raise TrainingError("the dataset is empty; check its folder and options")
        self.examples = examples
        self.batch_size = _shared_size(min(batch_size, len(examples)), world_size)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._order: list[list[int]] = []  # the batches of indices of an epoch
        self._loader: DataLoader[Any] = DataLoader(
            _Guarded(examples),
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=_ignore_interrupts,
        )

    @property
    def epoch_steps(self) -> int:
        """Batches of an epoch. Those left over are in other epochs, as the order changes."""
        return len(self.examples) // self.batch_size

    def _epoch(self, epoch: int) -> list[list[int]]:
        """Return the indices of all batches of an epoch."""
        count, size = len(self.examples), self.batch_size
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
        order = torch.randperm(count, generator=generator)
        return order[: self.epoch_steps * size].reshape(-1, size).tolist()

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """Yield this process's share of the batches from step ``first`` up to ``last``."""
        while first < last:
            epoch, place = divmod(first, self.epoch_steps)
            count = min(self.epoch_steps - place, last - first)
            self.examples.set_epoch(epoch)
            batches = self._epoch(epoch)[place : place + count]
            self._order[:] = [batch[self.rank :: self.world_size] for batch in batches]
            for batch in self._loader:
                if isinstance(batch, Exception):
                    try:
                        raise batch
                    finally:
                        del batch  # the error refers to it: a cycle that keeps the workers alive
                yield batch
            first += count

    def statistics(self, count: int) -> Iterator[Batch]:
        """Yield about ``count`` examples without augmentations, for the input normalisation."""
        plain = self.examples.without_augmentations()
        count = min(count, len(plain))
        for index in torch.linspace(0, len(plain) - 1, count).long().tolist():
            yield collate([(index, plain[index])])


class MixedBatches:
    """The share of one of several processes in the batches of a mixer; ``steps`` are an epoch."""

    def __init__(self, mixer: Mixer, steps: int, rank: int = 0, world_size: int = 1) -> None:
        _shared_size(mixer.batch_size, world_size)
        self.mixer = mixer
        self.epoch_steps = steps
        self.rank = rank
        self.world_size = world_size

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """Yield this process's share of the batches from step ``first`` up to ``last``."""
        for step in range(first, last):
            yield self.mixer.batch(step, self.rank, self.world_size)

    def statistics(self, count: int) -> Iterator[Batch]:
        """Yield ``count`` mixtures or a few more, the same for all processes."""
        for step in range(-(-count // self.mixer.batch_size)):
            yield self.mixer.batch(step)


def make_batches(
    train: Dataset[Any] | Mixer, config: TrainingConfig, processes: Processes, workers: int = 0
) -> Batches | MixedBatches:
    """Return the batches of a run, for one of its processes."""
    rank, world_size = processes.rank, processes.world_size
    if isinstance(train, Mixer):
        return MixedBatches(train.to(processes.device), config.steps, rank, world_size)
    examples = Examples(train, config.targets, config.nb_channels)
    pin = processes.device.type == "cuda"
    return Batches(examples, config.batch_size, config.seed, rank, world_size, workers, pin)


def _shared_size(batch_size: int, world_size: int) -> int:
    """Return the size of a batch, if all processes can have equal shares of it."""
    if batch_size % world_size:
        raise TrainingError(
            f"a batch of {batch_size} cannot be shared by {world_size} processes; choose a multiple"
        )
    return batch_size
