"""Track folders of stems, mixed on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openunmix.data.augment.sources import Augmentation
from openunmix.data.excerpts import Chosen, ExcerptDataset
from openunmix.data.layouts import fixed_tracks, variable_tracks


class FixedSourcesTrackFolderDataset(ExcerptDataset):
    """Track folders that all have the same stems; the mixture is their sum.

    ::

        root/train/track1/vocals.wav     target
        root/train/track1/bass.wav       interferer
        root/train/track1/drums.wav      interferer

    An epoch has every track's target once, optionally with interferers from other tracks.

    Parameters
    ----------
    root, split
        As for :class:`~openunmix.data.UnmixDataset`: a folder, and the name of a folder in it.
    target_file : str
        File name of the target; any case and any extension of audio will do.
    interferer_files : sequence of str
        File names of all other sources, likewise. Tracks that lack one are skipped.
    seq_duration, random_chunks
        As for :class:`~openunmix.data.UnmixDataset`. Tracks shorter than an item are skipped.
    random_track_mix : bool
        Whether each interferer comes from a random track, at another time if ``random_chunks``.
    source_augmentations, sample_rate, seed
        As for :class:`~openunmix.data.UnmixDataset`.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        target_file: str = "vocals.wav",
        interferer_files: Sequence[str] = ("bass.wav", "drums.wav"),
        seq_duration: float | None = None,
        random_chunks: bool = False,
        random_track_mix: bool = False,
        source_augmentations: Augmentation | None = None,
        sample_rate: float = 44100.0,
        seed: int = 42,
    ) -> None:
        super().__init__(
            root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        )
        self.target_file = target_file
        self.interferer_files = list(interferer_files)
        self.random_track_mix = random_track_mix
        self.target = Path(target_file).stem
        self.source_files = {Path(name).stem: name for name in [target_file, *interferer_files]}
        if len(self.source_files) < 1 + len(self.interferer_files):
            raise ValueError(
                f"target {target_file!r} and interferers {self.interferer_files} have a name in "
                "common; name each source once"
            )
        folder = Path(root).expanduser()
        tracks = fixed_tracks(folder, split, list(self.source_files.values()))
        self.tracks = self._open(tracks, folder / split)
        self._fix_channels(self.tracks)

    def _choose(self, index: int, generator: np.random.Generator) -> Chosen:
        """Choose the stems of track ``index``, or of random tracks for the interferers."""
        track = self.tracks[index]
        excerpt = self._excerpt(track.recordings, generator)
        chosen: Chosen = {}
        for name in self.source_files:
            if self.random_track_mix and name != self.target:
                track = self.tracks[generator.integers(len(self.tracks))]
                excerpt = self._excerpt(track.recordings, generator)
            chosen[name] = (track.sources[name], excerpt)
        return chosen

    def __len__(self) -> int:
        return len(self.tracks)


class VariableSourcesTrackFolderDataset(ExcerptDataset):
    """Track folders with any stems beside the target; the mixture is the sum of all.

    ::

        root/train/track1/vocals.wav         target
        root/train/track1/drums.wav          interferer
        root/train/track1/accordion.wav      interferer
        root/train/track2/vocals.wav         target
        root/train/track2/marimba.wav        interferer

    A file ``mixture`` is no stem.

    Parameters
    ----------
    root, split
        As for :class:`~openunmix.data.UnmixDataset`: a folder, and the name of a folder in it.
    target_file : str
        File name of the target; any case and any extension of audio will do.
    ext : str, optional
        Extension of the other stems, in any case; None for all audio files.
    seq_duration, random_chunks
        As for :class:`~openunmix.data.UnmixDataset`. Tracks shorter than an item are skipped.
    random_interferer_mix : bool
        Whether the interferers come from a random track.
    sample_rate, source_augmentations
        As for :class:`~openunmix.data.UnmixDataset`.
    silence_missing_targets : bool
        Whether the target is silent in tracks that lack it; otherwise they are skipped.
    seed : int
        Seed of all random numbers.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        target_file: str = "vocals.wav",
        ext: str | None = ".wav",
        seq_duration: float | None = None,
        random_chunks: bool = False,
        random_interferer_mix: bool = False,
        sample_rate: float = 44100.0,
        source_augmentations: Augmentation | None = None,
        silence_missing_targets: bool = False,
        seed: int = 42,
    ) -> None:
        super().__init__(
            root, sample_rate, seq_duration, source_augmentations, split, random_chunks, seed
        )
        self.target_file = target_file
        self.target = Path(target_file).stem
        self.ext = ext
        self.random_interferer_mix = random_interferer_mix
        self.silence_missing_targets = silence_missing_targets
        folder = Path(root).expanduser()
        tracks = variable_tracks(folder, split, target_file, ext, silence_missing_targets)
        self.tracks = self._open(tracks, folder / split)
        self._fix_channels(self.tracks)

    def _choose(self, index: int, generator: np.random.Generator) -> Chosen:
        """Choose the target of track ``index``, and its interferers or those of a random track."""
        track = other = self.tracks[index]
        excerpt = other_excerpt = self._excerpt(track.recordings, generator)
        if self.random_interferer_mix:
            other = self.tracks[generator.integers(len(self.tracks))]
            other_excerpt = self._excerpt(other.recordings, generator)
        chosen: Chosen = {
            recording.source.path.name: (recording, other_excerpt)
            for name, recording in other.sources.items()
            if name != self.target
        }
        target = track.sources.get(self.target)
        # Silence in place of a missing target is as long as what it is mixed with.
        chosen[self.target] = (target, other_excerpt if target is None and chosen else excerpt)
        return chosen

    def __len__(self) -> int:
        return len(self.tracks)
