"""MUSDB18 and MUSDB18-HQ: tracks found by the package musdb, decoded by this package."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from openunmix.data.augment.sources import Augmentation
from openunmix.data.base import Pair
from openunmix.data.excerpts import Chosen, Excerpt, ExcerptDataset
from openunmix.data.layouts import musdb_tracks
from openunmix.errors import DownloadError, MissingExtraError


class MUSDBDataset(ExcerptDataset):
    """Excerpts of MUSDB18: remixed for training, whole tracks for validation.

    An item of the split ``"train"`` is the sum of random excerpts, drawn with replacement. All
    others are whole tracks with the mixture of MUSDB18, which differs slightly from the sum of
    its stems.

    Parameters
    ----------
    target : str
        ``"vocals"``, ``"drums"``, ``"bass"``, ``"other"``, or a sum of them defined by the package
        musdb, such as ``"accompaniment"``.
    root : str or Path, optional
        Folder with ``train/`` and ``test/``; otherwise the environment variable ``MUSDB_PATH``.
    download : bool
        Whether to download the previews of MUSDB18, 7 seconds per track, unless present.
    is_wav : bool
        Whether tracks are folders of WAV files (MUSDB18-HQ) and not ``.stem.mp4`` files.
    subsets : str or sequence of str
        ``"train"`` or ``"test"``.
    split : str, optional
        ``"train"``, or ``"valid"`` for the 14 tracks of the training set that are kept for
        validation; None for all, which ``subsets="test"`` needs.
    seq_duration : float, optional
        Duration of a training item in seconds; shorter tracks are skipped. Whole tracks if not
        given.
    samples_per_track : int
        Items per track and epoch.
    source_augmentations : callable, optional
        Applied to every source of a training item, see :class:`~openunmix.data.UnmixDataset`.
    random_track_mix : bool
        Whether each source of a training item comes from a random track. Otherwise all come from
        one excerpt of one track.
    seed : int
        Seed of all random numbers.
    *args, **kwargs
        For ``musdb.DB``. With a ``sample_rate``, tracks are resampled to it.

    Raises
    ------
    MissingExtraError
        If the package musdb, or the ffmpeg program that it needs, is not installed.
    DownloadError
        If the previews cannot be downloaded.
    ValueError
        If the target is unknown, ``samples_per_track`` is not positive, there is no root, or a
        subset without validation tracks is to be split.
    """

    def __init__(
        self,
        target: str = "vocals",
        root: str | Path | None = None,
        download: bool = False,
        is_wav: bool = False,
        subsets: str | Sequence[str] = "train",
        split: str | None = "train",
        seq_duration: float | None = 6.0,
        samples_per_track: int = 64,
        source_augmentations: Augmentation | None = None,
        random_track_mix: bool = False,
        seed: int = 42,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        rate = kwargs.get("sample_rate") or 44100.0
        super().__init__(root, rate, seq_duration, source_augmentations, split, True, seed)
        if samples_per_track < 1:
            raise ValueError(f"samples_per_track is {samples_per_track}, expected at least 1")
        self.target = target
        self.is_wav = is_wav
        self.subsets = subsets
        self.samples_per_track = samples_per_track
        self.random_track_mix = random_track_mix
        if root is None and not download and "MUSDB_PATH" not in os.environ:
            raise ValueError("no root given; give the folder of MUSDB18, or download=True")
        if split is not None and subsets not in ("train", ["train"], ("train",)):
            raise ValueError(f"subsets={subsets!r} is not split; give split=None with it")
        options = {"is_wav": is_wav, "split": split, "subsets": subsets, **kwargs}
        self.mus = open_database(self.root, *args, download=download, **options)
        self.root = Path(self.mus.root)
        self.parts = _parts(target, self.mus.setup["targets"])
        tracks = musdb_tracks(self.mus, split, is_wav)
        self.tracks = self._open(tracks, self.root, with_mixture=True)
        self._fix_channels(self.tracks)

    @property
    def _is_whole(self) -> bool:
        """Whether items are whole tracks with their own mixture."""
        return self.split != "train" or self._excerpt_length is None

    def _choose(self, index: int, generator: np.random.Generator) -> Chosen:
        """Choose the stems of an item."""
        track = self.tracks[index // self.samples_per_track]
        if self._is_whole:
            whole = Excerpt(0, self._length(*track.recordings))
            return {name: (stem, whole) for name, stem in track.sources.items()}
        excerpt = self._excerpt(track.sources.values(), generator)
        chosen: Chosen = {}
        for name in track.sources:
            if self.random_track_mix:
                track = self.tracks[generator.integers(len(self.tracks))]
                excerpt = self._excerpt(track.sources.values(), generator)
            chosen[name] = (track.sources[name], excerpt)
        return chosen

    def __getitem__(self, index: int) -> Pair:
        """Return item ``index``: a new mixture for training, otherwise a whole track."""
        sources = self.sources(index)
        target = torch.stack([sources[name] for name in self.parts]).sum(dim=0)
        if not self._is_whole:
            return Pair(torch.stack(list(sources.values())).sum(dim=0), target)
        mixture = self.tracks[self._checked(index) // self.samples_per_track].mixture
        assert mixture is not None, "MUSDB18 has mixtures"
        return Pair(self._read(mixture, Excerpt(0, target.shape[-1])), target)

    def __len__(self) -> int:
        return len(self.tracks) * self.samples_per_track

    def extra_repr(self) -> str:
        """Return more lines for ``repr``: target, samples per track and those of all datasets."""
        own = f"Target: {self.target}\nSamples per track: {self.samples_per_track}"
        return f"{own}\n{super().extra_repr()}"


def open_database(root: Path | None, *args: Any, download: bool, **options: Any) -> Any:
    """Open MUSDB18 with the package musdb, or fetch its previews; returns a ``musdb.DB``."""
    musdb = _import_musdb()
    folder = None if root is None else str(root)
    try:
        return musdb.DB(*args, root=folder, download=download, **options)
    except OSError as error:
        if not download:
            raise
        raise DownloadError(f"the previews of MUSDB18 could not be fetched: {error}") from error


def _import_musdb() -> ModuleType:
    """Import the optional package."""
    advice = "use wav files with the dataset 'trackfolder_fix' instead"
    try:
        return importlib.import_module("musdb")
    except ImportError as error:
        raise MissingExtraError(
            f"the dataset 'musdb' needs the package musdb; install openunmix[musdb], or {advice}"
        ) from error
    except RuntimeError as error:  # what it imports looks for ffmpeg at once
        raise MissingExtraError(
            f"the package musdb cannot work ({error}); install the program ffmpeg, or {advice}"
        ) from error


def _parts(target: str, known: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Names of the stems that a target is the sum of."""
    if target not in known:
        raise ValueError(f"MUSDB18 has no target {target!r}; choose from {list(known)}")
    return list(known[target])
