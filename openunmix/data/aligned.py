"""Pairs of files: input of the network and its target."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from openunmix.data.augment.sources import Augmentation
from openunmix.data.base import Pair
from openunmix.data.excerpts import Chosen, FileDataset
from openunmix.data.layouts import aligned_tracks


class AlignedDataset(FileDataset):
    """Track folders with a mixture and a target, which need not be a source of the mixture.

    ::

        root/train/track1/mixture.wav    input of the network
        root/train/track1/vocals.wav     target

    This serves separation, denoising and bandwidth extension. Mixture and target are read at the
    same time of the track; the longer file is cut to the shorter.

    Parameters
    ----------
    root, split
        As for :class:`~openunmix.data.UnmixDataset`: a folder, and the name of a folder in it.
    input_file, output_file : str
        File names of mixture and target in a track's folder, or globs; the first match is used.
        Any case and any extension of audio will do.
    seq_duration, random_chunks, sample_rate
        As for :class:`~openunmix.data.UnmixDataset`. Tracks shorter than an item are skipped.
    source_augmentations : callable, optional
        Applied to mixture and target with the same random numbers.
    seed : int
        Seed of all random numbers.
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
            root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        )
        self.input_file = input_file
        self.output_file = output_file
        folder = Path(root).expanduser()
        tracks = aligned_tracks(folder, split, input_file, output_file)
        opened = self._open(tracks, folder / split, with_mixture=True)
        self._fix_channels(opened)
        self._pairs = [(track.recordings[0], track.recordings[1]) for track in opened]
        self.tuple_paths = [(x.source.path, y.source.path) for x, y in self._pairs]

    def __getitem__(self, index: int) -> Pair:
        """Return the mixture and the target of track ``index``."""
        index = self._checked(index)
        mixture, target = self._pairs[index]
        generator = self.generator(index)
        excerpt = self._excerpt([mixture, target], generator)
        same = copy.deepcopy(generator)
        return Pair(
            self.augment(self._read(mixture, excerpt), generator),
            self.augment(self._read(target, excerpt), same),
        )

    def _choose(self, index: int, generator: np.random.Generator) -> Chosen:
        """Choose the excerpt of the target."""
        pair = self._pairs[index]
        return {Path(self.output_file).stem: (pair[1], self._excerpt(pair, generator))}

    def __len__(self) -> int:
        return len(self._pairs)
