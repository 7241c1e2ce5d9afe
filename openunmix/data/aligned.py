"""Pairs of files: a mixture and what a network is to make of it."""

from __future__ import annotations

import copy
from pathlib import Path

from openunmix.data.augment import Augmentation
from openunmix.data.base import Pair, UnmixDataset, files_of, track_folders, usable
from openunmix.data.excerpts import excerpt_of
from openunmix.data.recordings import Recording

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
    root : str or Path
        Folder with a folder for each split.
    split : str
        Which of them: ``"train"``, ``"valid"``.
    input_file, output_file : str
        File names of mixture and target in a track's folder, or globs, of which the first match
        counts.
    seq_duration : float, optional
        Seconds of an item; whole tracks if not given. Shorter tracks are skipped.
    random_chunks : bool
        Whether an item starts anywhere in its track, not at the beginning.
    sample_rate : float
        Rate of all items in Hz; files of other rates are resampled.
    source_augmentations : callable, optional
        Applied to mixture and target alike, with the same random numbers; see
        :class:`~openunmix.data.UnmixDataset`.
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
        super().__init__(root, sample_rate, seq_duration, source_augmentations)
        self.split = split
        self.input_file = input_file
        self.output_file = output_file
        self.random_chunks = random_chunks
        self.seed = seed
        folders = track_folders(Path(root).expanduser(), split)
        tracks = {folder: self._look_at(folder) for folder in folders}
        self._pairs = usable(tracks, Path(root, split))
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
        available = self.length(mixture, target)
        start_from = generator if self.random_chunks else None
        excerpt = excerpt_of(available, self._excerpt_length, start_from)
        same = copy.deepcopy(generator)
        return Pair(
            self.augment(self.read(mixture, excerpt), generator),
            self.augment(self.read(target, excerpt), same),
        )

    def __len__(self) -> int:
        return len(self._pairs)
