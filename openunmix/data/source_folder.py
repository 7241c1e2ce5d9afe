"""Folders of recordings, one for each source, that are mixed at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openunmix.data.augment.sources import Augmentation
from openunmix.data.excerpts import Chosen, ExcerptDataset
from openunmix.data.layouts import source_tracks
from openunmix.errors import AudioFileError


class SourceFolderDataset(ExcerptDataset):
    """Folders of recordings, one for each source: every item mixes a random one of each.

    ::

        root/train/vocals/anything.wav      target
        root/train/bass/something.wav       interferer
        root/train/drums/whatever.wav       interferer

    This fits datasets of speech and noise. The items of the split ``"valid"`` are the same in
    every epoch.

    Parameters
    ----------
    root, split
        As for :class:`~openunmix.data.UnmixDataset`: a folder, and the name of a folder in it.
    target_dir : str
        Folder of the target in the split.
    interferer_dirs : sequence of str
        Folders of all other sources.
    ext : str, optional
        Extension of the audio files, in any case; None for all audio files.
    nb_samples : int
        Number of items in an epoch.
    seq_duration : float, optional
        Duration of an item in seconds; shorter files are skipped. If not given, whole files, cut
        to the shortest of an item.
    random_chunks : bool
        Whether excerpts start at random positions; otherwise they are centred.
    sample_rate, source_augmentations, seed
        As for :class:`~openunmix.data.UnmixDataset`.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        target_dir: str = "vocals",
        interferer_dirs: Sequence[str] = ("bass", "drums"),
        ext: str | None = ".wav",
        nb_samples: int = 1000,
        seq_duration: float | None = None,
        random_chunks: bool = True,
        sample_rate: float = 44100.0,
        source_augmentations: Augmentation | None = None,
        seed: int = 42,
    ) -> None:
        super().__init__(
            root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        )
        self.target = self.target_dir = target_dir
        self.interferer_dirs = list(interferer_dirs)
        self.ext = ext
        self.nb_samples = nb_samples
        self.source_folders = [*self.interferer_dirs, target_dir]
        if len(set(self.source_folders)) < len(self.source_folders):
            raise ValueError(f"{self.source_folders}: a folder is given twice; name each once")
        folder = Path(root).expanduser()
        for name in self.source_folders:
            if not (folder / split / name).is_dir():
                raise AudioFileError(
                    f"{folder / split / name}: no such folder; check the names of the sources"
                )
        opened = {
            name: self._open(source_tracks(folder, split, name, ext), folder / split / name)
            for name in self.source_folders
        }
        self._fix_channels(track for tracks in opened.values() for track in tracks)
        self.source_tracks = {
            name: [track.sources[name] for track in tracks] for name, tracks in opened.items()
        }

    def _choose(self, index: int, generator: np.random.Generator) -> Chosen:
        """Choose a random recording of each source."""
        chosen: Chosen = {}
        for name, tracks in self.source_tracks.items():
            track = tracks[generator.integers(len(tracks))]
            chosen[name] = (track, self._excerpt([track], generator, centred=True))
        return chosen

    def __len__(self) -> int:
        return self.nb_samples
