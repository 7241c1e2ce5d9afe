"""What all data sets have in common: pairs of mixture and target, that follow from an index."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openunmix.data.augment import Augmentation, augmented
from openunmix.data.excerpts import Excerpt, item_generator
from openunmix.data.recordings import Recording, to_channels
from openunmix.errors import AudioFileError

__all__ = ["MixingDataset", "Pair", "UnmixDataset", "files_of", "track_folders", "usable"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Pair(NamedTuple):
    """An item of a data set.

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
    """Pairs of a mixture and a target. A data set of one's own derives from it.

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

    Attributes
    ----------
    split : str or None
        In ``"valid"`` every epoch has the same items.
    seed : int
        Seed of all random numbers.
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
    ) -> None:
        if round(sample_rate) <= 0:
            raise ValueError(f"sample_rate is {sample_rate}, expected a positive rate in Hz")
        self.root = None if root is None else Path(root).expanduser()
        self.sample_rate = sample_rate
        self.seq_duration = seq_duration
        self.source_augmentations = source_augmentations
        self.split: str | None = "train"
        self.seed = 42
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
        """Read an excerpt, in the rate and the channels of the data set.

        Parameters
        ----------
        recording : Recording
            Where from.
        excerpt : Excerpt
            Start and length in samples at the rate of the data set.

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
        """Count the samples that recordings have in common, at the rate of the data set.

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

    def _settle(self, recordings: Iterable[Recording]) -> None:
        """Fix the number of channels of all items; tell about files of other rates."""
        recordings = list(recordings)
        counts = {recording.channels for recording in recordings}
        self.channels = max(counts) if len(counts - {1}) <= 1 else 2
        others = [recording for recording in recordings if recording.sample_rate != self._rate]
        if others:
            logger.warning(
                "%d of %d recordings are not at %d Hz, such as %s at %d Hz: they are resampled "
                "whenever they are read; convert them once to train faster",
                len(others),
                len(recordings),
                self._rate,
                others[0].path,
                others[0].sample_rate,
            )

    def _checked(self, index: int) -> int:
        """Return an index from 0 on; the end of a list has negative ones."""
        place = operator.index(index)
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"index {index} is out of range, the data set has {len(self)} items")
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
    """A data set that mixes its items from sources; give it ``__len__`` and :meth:`sources`.

    Parameters
    ----------
    root, sample_rate, seq_duration, source_augmentations
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

    def _read_sources(
        self,
        chosen: Mapping[str, tuple[Recording, Excerpt]],
        generator: np.random.Generator,
    ) -> dict[str, Tensor]:
        """Read and augment sources, cut to the shortest of them."""
        length = min(excerpt.length for _, excerpt in chosen.values())
        return {
            name: self.augment(self.read(recording, excerpt._replace(length=length)), generator)
            for name, (recording, excerpt) in chosen.items()
        }


def track_folders(root: Path, split: str) -> list[Path]:
    """List the track folders of a split.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    split : str
        A folder in it.

    Returns
    -------
    list of Path
        The folders in there, sorted; hidden ones are left out.

    Raises
    ------
    AudioFileError
        If there is no such folder.
    """
    folder = root / split
    if not folder.is_dir():
        raise AudioFileError(f"{folder}: no such folder; --root needs a folder for each split")
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path))


def files_of(folder: Path, pattern: str) -> list[Path]:
    """List the files in a folder that match a pattern.

    Parameters
    ----------
    folder : Path
        Where to look.
    pattern : str
        A file name or a glob.

    Returns
    -------
    list of Path
        The files, sorted; hidden ones are left out.
    """
    return sorted(path for path in folder.glob(pattern) if path.is_file() and _is_visible(path))


def _is_visible(path: Path) -> bool:
    """Whether the name does not start with a dot, as those of programs' own files do."""
    return not path.name.startswith(".")


def usable(tracks: Mapping[Path, T | str], folder: Path) -> list[T]:
    """Keep the tracks that can be used, and say why the others cannot.

    Parameters
    ----------
    tracks : mapping of Path to object or str
        By folder or file, what the data set needs to know of a track, or the reason to skip it.
    folder : Path
        Where they are, for messages.

    Returns
    -------
    list
        What there is to know, without the reasons.

    Raises
    ------
    AudioFileError
        If there is no track that can be used.
    """
    reasons = {path: reason for path, reason in tracks.items() if isinstance(reason, str)}
    for path, reason in reasons.items():
        logger.warning("skipped %s: %s", path, reason)
    kept = [track for track in tracks.values() if not isinstance(track, str)]
    if not kept:
        first = next((f"{path}: {reason}" for path, reason in reasons.items()), "it is empty")
        raise AudioFileError(
            f"{folder}: none of {len(tracks)} tracks can be used ({first}); check the data set's "
            "files and options"
        )
    return kept
