"""Base classes of datasets: every item follows from seed, epoch and index."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.data.augment.sources import Augmentation, augmented


def item_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of an item, independent of those of all other items."""
    if min(seed, epoch, index) < 0:
        raise ValueError(f"seed={seed}, epoch={epoch} and index={index} must not be negative")
    return np.random.default_rng((seed, epoch, index))


class Pair(NamedTuple):
    """An item of a dataset, (channels, samples) each: the network estimates target from mixture."""

    mixture: Tensor
    target: Tensor


class UnmixDataset(Dataset[Pair]):
    """Base class of datasets of pairs of mixture and target.

    A subclass defines ``__len__`` and ``__getitem__``, and takes every random number from
    ``self.generator(index)``: then an item depends on nothing but the seed, the epoch and its
    index, in any number of workers.

    Parameters
    ----------
    root : str or Path, optional
        Folder of the data.
    sample_rate : float
        Sample rate of all items in Hz; files of other rates are resampled.
    seq_duration : float, optional
        Duration of an item in seconds; whole tracks if not given or not positive.
    source_augmentations : callable, optional
        Applied to every source before mixing: from a waveform (channels, samples) to another.
        It gets the keyword ``generator``, a numpy Generator, if it has such a parameter, and
        should take its random numbers from there.
    split : str, optional
        Part of the data: ``"train"``, ``"valid"``, or None for all. In ``"valid"`` every epoch
        has the same items.
    random_chunks : bool
        Whether excerpts start at random positions.
    seed : int
        Seed of all random numbers.

    Raises
    ------
    AudioFileError
        If there is no such folder, no track in it that can be used, or a file cannot be read.
    """

    _repr_indent = 4

    def __init__(
        self,
        root: str | Path | None,
        sample_rate: float,
        seq_duration: float | None = None,
        source_augmentations: Augmentation | None = None,
        split: str | None = "train",
        random_chunks: bool = False,
        seed: int = 42,
    ) -> None:
        if round(sample_rate) <= 0:
            raise ValueError(f"sample_rate is {sample_rate}, expected a positive rate in Hz")
        self.root = None if root is None else Path(root).expanduser()
        self.sample_rate = sample_rate
        self.seq_duration = seq_duration
        self.source_augmentations = source_augmentations
        self.split = split
        self.random_chunks = random_chunks
        self.seed = seed
        self.channels: int | None = None  # of all items; None for those of the file
        # In shared memory, so that workers that live on see what set_epoch sets.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __getitem__(self, index: int) -> Pair:
        """Return item ``index``."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def epoch(self) -> int:
        """Epoch whose items are returned."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch before iterating: each has other items, but for the split ``"valid"``."""
        self._epoch.fill_(epoch)

    def generator(self, index: int) -> np.random.Generator:
        """Return the generator of an item, in a state that follows from seed, epoch and index."""
        return item_generator(self.seed, 0 if self.split == "valid" else self.epoch, index)

    def augment(self, waveform: Tensor, generator: np.random.Generator) -> Tensor:
        """Apply the augmentations, if any, to a source (channels, samples)."""
        return augmented(self.source_augmentations, waveform, generator)

    def bandwidths(self, index: int) -> dict[str, float]:
        """Bandwidth in Hz of the sources of an item that do not have the full bandwidth.

        Singing recorded at 16 kHz has nothing above 8 kHz, whatever it is resampled to. A loss
        that knows leaves out what is above, so that the network does not learn it.
        """
        return {}

    @property
    def _rate(self) -> int:
        """Sample rate in Hz."""
        return round(self.sample_rate)

    @property
    def _excerpt_length(self) -> int | None:
        """Samples of an item; None for whole tracks."""
        if self.seq_duration is None or self.seq_duration <= 0:
            return None
        return max(1, round(self.seq_duration * self._rate))

    def _checked(self, index: int) -> int:
        """Return the index, counted from the end if negative; raise IndexError beyond it."""
        place = operator.index(index)
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"index {index} is out of range, the dataset has {len(self)} items")
        return place

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}", *self.extra_repr().splitlines()]
        indent = " " * self._repr_indent
        return "\n".join([f"Dataset {type(self).__name__}", *(indent + line for line in body)])

    def extra_repr(self) -> str:
        """Return more lines for ``repr``: root, split, rate and duration."""
        duration = "whole tracks" if self._excerpt_length is None else f"{self.seq_duration} s"
        return (
            f"Root: {self.root}\nSplit: {self.split}\n"
            f"Sample rate: {self.sample_rate} Hz\nDuration: {duration}"
        )


class MixingDataset(UnmixDataset):
    """Base class of datasets that mix their items; define ``__len__`` and :meth:`sources`.

    Parameters
    ----------
    root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        As for :class:`UnmixDataset`.
    """

    #: Name of the source that is the target.
    target: str

    def sources(self, index: int) -> dict[str, Tensor]:
        """Return the augmented sources (channels, samples) of an item; they sum to the mixture."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Pair:
        """Return item ``index``: the sum of its sources, and the target among them."""
        sources = self.sources(index)
        return Pair(torch.stack(list(sources.values())).sum(dim=0), sources[self.target])
