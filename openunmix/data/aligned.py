"""Pairs of files: a mixture and what a network is to make of it."""

from __future__ import annotations

import copy
from pathlib import Path

from openunmix.data.augment.sources import Augmentation
from openunmix.data.base import Pair, UnmixDataset
from openunmix.data.recordings import Recording
from openunmix.data.tracks import files_of

__all__ = ["AlignedDataset"]


class AlignedDataset(UnmixDataset):
    """Track folders with a mixture and a target, which need not be a part of the mixture.

    ::

        root/train/track1/mixture.wav    what the network is given
        root/train/track1/vocals.wav     what it is to estimate

    This serves separation as well as denoising or bandwidth extension. Mixture and target are
    read at the same time of the track, and an item is what is in both files.

    Parameters
    ----------
    root, split
        As for :class:`~openunmix.data.UnmixDataset`: a folder, and the name of a folder in it.
    input_file, output_file : str
        File names of mixture and target in a track's folder, or globs, of which the first match
        counts.
    seq_duration, random_chunks, sample_rate
        As for :class:`~openunmix.data.UnmixDataset`. Tracks shorter than an item are skipped.
    source_augmentations : callable, optional
        Applied to mixture and target alike, with the same random numbers.
    seed : int
        Seed of all random numbers.

    Raises
    ------
    AudioFileError
        If there is no such folder, no track in it that can be used, or a file cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        input_file: str = "mixture.wav",
        output_file: str = "vocals.wav",
        seq_duration: float | None = None,
        random_chunks: bool = False,
        sample_rate: float = 44100.0,
        source_augmentations: Augmentation | None = None,
        seed: int = 42,
    ) -> None:
        super().__init__(
            root,
            sample_rate,
            seq_duration,
            source_augmentations,
            split=split,
            random_chunks=random_chunks,
            seed=seed,
        )
        self.input_file = input_file
        self.output_file = output_file
        self._pairs = self._tracks(self._look_at)
        self._settle(recording for pair in self._pairs for recording in pair)
        self.tuple_paths = [(mixture.path, target.path) for mixture, target in self._pairs]

    def _look_at(self, folder: Path) -> tuple[Recording, Recording] | str:
        """Return a track's mixture and target, or why it cannot be used."""
        files = []
        for name in (self.input_file, self.output_file):
            found = files_of(folder, name)
            if not found:
                return f"there is no {name}"
            files.append(found[0])
        mixture, target = map(Recording.open, files)
        return self._too_short(mixture, target) or (mixture, target)

    def __getitem__(self, index: int) -> Pair:
        """Return the mixture and the target of track ``index``."""
        index = self._checked(index)
        mixture, target = self._pairs[index]
        generator = self.generator(index)
        excerpt = self._excerpt([mixture, target], generator)
        same = copy.deepcopy(generator)
        return Pair(
            self.augment(self.read(mixture, excerpt), generator),
            self.augment(self.read(target, excerpt), same),
        )

    def bandwidths(self, index: int) -> dict[str, float]:
        """Return the bandwidth of a target at a lower rate than that of the dataset.

        Parameters
        ----------
        index : int
            Index of the item.

        Returns
        -------
        dict of str to float
            Half of its rate in Hz by the file's name without extension.
        """
        target = self._pairs[self._checked(index)][1]
        limited = target.sample_rate < self._rate
        return {Path(self.output_file).stem: target.sample_rate / 2} if limited else {}

    def __len__(self) -> int:
        return len(self._pairs)
