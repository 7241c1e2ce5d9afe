"""What all datasets have in common: pairs of mixture and target, that follow from an index."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.data.augment.sources import Augmentation, augmented
from openunmix.data.recordings import Recording, decoded_folder, to_channels
from openunmix.data.tracks import track_folders, usable
from openunmix.errors import AudioFileError

__all__ = [
    "Excerpt",
    "ExcerptDataset",
    "MixingDataset",
    "Pair",
    "UnmixDataset",
    "excerpt_of",
    "item_generator",
]


class Excerpt(NamedTuple):
    """A contiguous part of a track.

    Attributes
    ----------
    start : int
        First sample.
    length : int
        Number of samples.
    """

    start: int
    length: int


def item_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of all random numbers of an item.

    Parameters
    ----------
    seed : int >= 0
        Seed of the dataset.
    epoch : int >= 0
        Epoch of training.
    index : int >= 0
        Index of the item.

    Returns
    -------
    numpy Generator
        Independent of those for other seeds, epochs and indices.

    Raises
    ------
    ValueError
        If one of them is negative.
    """
    if min(seed, epoch, index) < 0:
        raise ValueError(f"seed={seed}, epoch={epoch} and index={index} must not be negative")
    return np.random.default_rng((seed, epoch, index))


def excerpt_of(
    available: int,
    length: int | None,
    generator: np.random.Generator | None = None,
    centred: bool = False,
) -> Excerpt:
    """Choose an excerpt of a track.

    Parameters
    ----------
    available : int
        Samples of the track, or of the shortest of its stems.
    length : int or None
        Samples of the excerpt; None, or more than there are, means the whole track.
    generator : numpy Generator, optional
        Where to draw the start from, all that are possible being equally likely. Without it, the
        excerpt is at the beginning.
    centred : bool
        Without a generator: whether the excerpt is in the middle instead.

    Returns
    -------
    Excerpt
        Within the track.

    Examples
    --------
    >>> excerpt_of(100, 30)
    Excerpt(start=0, length=30)
    >>> excerpt_of(100, 30, centred=True)
    Excerpt(start=35, length=30)
    """
    length = available if length is None else min(length, available)
    spare = available - length
    if generator is not None:
        return Excerpt(int(generator.integers(spare + 1)), length)
    return Excerpt(spare // 2 if centred else 0, length)


logger = logging.getLogger(__name__)

T = TypeVar("T")


class Pair(NamedTuple):
    """An item of a dataset.

    Attributes
    ----------
    mixture : Tensor [shape=(channels, samples)], real
        What a network is given.
    target : Tensor [shape=(channels, samples)], real
        What it is to estimate.
    """

    mixture: Tensor
    target: Tensor


class UnmixDataset(Dataset[Pair]):
    """Pairs of a mixture and a target. A dataset of one's own derives from it.

    Give it ``__len__`` and ``__getitem__``, and take every random number from
    ``self.generator(index)``: then an item depends on nothing but the seed, the epoch and its
    index, in any number of workers.

    Parameters
    ----------
    root : str or Path, optional
        Folder of the data.
    sample_rate : float
        Rate of all items in Hz; files of other rates are resampled.
    seq_duration : float, optional
        Seconds of an item; whole tracks if not given or not positive.
    source_augmentations : callable, optional
        Applied to every source before mixing: from a waveform (channels, samples) to another.
        It gets the keyword ``generator``, a numpy Generator, if it has such a parameter, and
        should take its random numbers from there.
    split : str, optional
        Which part of the data: ``"train"``, ``"valid"``, or None for all. In ``"valid"`` every
        epoch has the same items.
    random_chunks : bool
        Whether an item is taken from anywhere in its track, not from one place.
    seed : int
        Seed of all random numbers.

    Attributes
    ----------
    channels : int or None
        Channels of all items; None for those that :meth:`read` finds in a file.
    """

    _repr_indent = 4

    def __init__(
        self,
        root: str | Path | None,
        sample_rate: float,
        seq_duration: float | None = None,
        source_augmentations: Augmentation | None = None,
        *,
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
        self.channels: int | None = None
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
        """Choose the epoch: with another one, the items are others.

        Parameters
        ----------
        epoch : int >= 0
            To be set before iterating. It reaches the workers of a loader too, and has no effect
            on the items of the split ``"valid"``.
        """
        self._epoch.fill_(epoch)

    def generator(self, index: int) -> np.random.Generator:
        """Return the generator of all random numbers of an item.

        Parameters
        ----------
        index : int
            Index of the item.

        Returns
        -------
        numpy Generator
            The same one, from its beginning, for the same seed, epoch and index.
        """
        return item_generator(self.seed, 0 if self.split == "valid" else self.epoch, index)

    def read(self, recording: Recording, excerpt: Excerpt) -> Tensor:
        """Read an excerpt, in the rate and the channels of the dataset.

        Parameters
        ----------
        recording : Recording
            Where from.
        excerpt : Excerpt
            Start and length in samples at the rate of the dataset.

        Returns
        -------
        Tensor [shape=(channels, samples)], real
            The audio.

        Raises
        ------
        AudioFileError
            If the file cannot be read or does not fit; the message names it.
        """
        waveform = recording.read(*excerpt, self._rate)
        try:
            return waveform if self.channels is None else to_channels(waveform, self.channels)
        except ValueError as error:
            raise AudioFileError(f"{recording.path}: {error}") from error

    def length(self, *recordings: Recording) -> int:
        """Count the samples that recordings have in common, at the rate of the dataset.

        Parameters
        ----------
        *recordings : Recording
            At least one.

        Returns
        -------
        int
            The length of the shortest.
        """
        return min(recording.length(self._rate) for recording in recordings)

    def augment(self, waveform: Tensor, generator: np.random.Generator) -> Tensor:
        """Apply the augmentations, if there are any, to a source.

        Parameters
        ----------
        waveform : Tensor [shape=(channels, samples)], real
            The source.
        generator : numpy Generator
            The generator of the item.

        Returns
        -------
        Tensor [shape=(channels, samples)], real
            The augmented source.
        """
        return augmented(self.source_augmentations, waveform, generator)

    def bandwidths(self, index: int) -> dict[str, float]:
        """Tell up to which frequency the sources of an item say something.

        Singing that was recorded at 16 kHz ends at 8 kHz, whatever it is resampled to. A loss
        that knows does not teach the network that there is nothing above.

        Parameters
        ----------
        index : int
            Index of the item.

        Returns
        -------
        dict of str to float
            Hz by the name of a source; those that are not named have no limit.
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

    def _too_short(self, *recordings: Recording) -> str | None:
        """Say why there is no excerpt in these, or None if there is one."""
        length = self.length(*recordings)
        if length >= (self._excerpt_length or 1):
            return None
        return f"it lasts {length / self._rate:.3f} s, less than seq_duration={self.seq_duration}"

    def _excerpt(
        self,
        recordings: Iterable[Recording],
        generator: np.random.Generator,
        centred: bool = False,
    ) -> Excerpt:
        """Choose an excerpt that all recordings have."""
        start_from = generator if self.random_chunks else None
        return excerpt_of(self.length(*recordings), self._excerpt_length, start_from, centred)

    def _tracks(self, look_at: Callable[[Path], T | str]) -> list[T]:
        """Look at the track folders of the split, and keep those that can be used."""
        assert self.root is not None
        assert self.split is not None
        folders = track_folders(self.root, self.split)
        return usable({folder: look_at(folder) for folder in folders}, self.root / self.split)

    def _settle(self, recordings: Iterable[Recording]) -> None:
        """Fix the number of channels of all items; tell about files that are decoded to disk."""
        recordings = list(recordings)
        counts = {recording.channels for recording in recordings}
        self.channels = max(counts) if len(counts - {1}) <= 1 else 2
        others = [recording for recording in recordings if not recording.is_direct(self._rate)]
        if others:
            size = sum(4 * found.channels * found.length(self._rate) for found in others)
            logger.warning(
                "%d of %d recordings are not PCM at %d Hz, such as %s (%s, %d Hz): each is "
                "converted once, when it is first read, into %s, which takes up to %.2f GB",
                len(others),
                len(recordings),
                self._rate,
                others[0].path,
                others[0].codec,
                others[0].sample_rate,
                decoded_folder(),
                size / 1e9,
            )

    def _checked(self, index: int) -> int:
        """Return an index from 0 on; the end of a list has negative ones."""
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
        """Return more lines for ``repr``.

        Returns
        -------
        str
            Root, split, rate and duration, a line each.
        """
        duration = "whole tracks" if self._excerpt_length is None else f"{self.seq_duration} s"
        return (
            f"Root: {self.root}\nSplit: {self.split}\n"
            f"Sample rate: {self.sample_rate} Hz\nDuration: {duration}"
        )


class MixingDataset(UnmixDataset):
    """A dataset that mixes its items from sources; give it ``__len__`` and :meth:`sources`.

    Parameters
    ----------
    root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        As for :class:`UnmixDataset`.

    Attributes
    ----------
    target : str
        Name of the source that is the target.
    """

    target: str

    def sources(self, index: int) -> dict[str, Tensor]:
        """Return the sources of an item, augmented.

        Parameters
        ----------
        index : int
            Index of the item.

        Returns
        -------
        dict of str to Tensor [shape=(channels, samples)], real
            By name, all of one shape; their sum is the mixture.
        """
        raise NotImplementedError

    def __getitem__(self, index: int) -> Pair:
        """Return item ``index``: the sum of its sources, and the target among them."""
        sources = self.sources(index)
        return Pair(torch.stack(list(sources.values())).sum(dim=0), sources[self.target])


class ExcerptDataset(MixingDataset):
    """What the datasets that mix excerpts of recordings share; they choose the excerpts.

    Parameters
    ----------
    root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        As for :class:`UnmixDataset`.
    """

    def _choose(
        self, index: int, generator: np.random.Generator
    ) -> dict[str, tuple[Recording, Excerpt]]:
        """Choose a recording and an excerpt of it by the name of each source of an item."""
        raise NotImplementedError

    def sources(self, index: int) -> dict[str, Tensor]:
        """Read and augment the sources of an item, cut to the shortest of them.

        Parameters
        ----------
        index : int
            Index of the item.

        Returns
        -------
        dict of str to Tensor [shape=(channels, samples)], real
            By name.
        """
        index = self._checked(index)
        generator = self.generator(index)
        chosen = self._choose(index, generator)
        length = min((excerpt.length for _, excerpt in chosen.values()), default=0)
        return {
            name: self.augment(self.read(recording, excerpt._replace(length=length)), generator)
            for name, (recording, excerpt) in chosen.items()
        }

    def bandwidths(self, index: int) -> dict[str, float]:
        """Return the bandwidth of recordings at a lower rate than that of the dataset.

        Parameters
        ----------
        index : int
            Index of the item.

        Returns
        -------
        dict of str to float
            Half of their rates in Hz, by the name of the source.
        """
        index = self._checked(index)
        chosen = self._choose(index, self.generator(index))
        return {
            name: recording.sample_rate / 2
            for name, (recording, _) in chosen.items()
            if recording.sample_rate < self._rate
        }
