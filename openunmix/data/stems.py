"""Tracks of stems, decoded once and kept in memory as 16-bit integers.

A minute of one stereo stem takes 10.6 MB, a track of four minutes with four stems 170 MB. Drawing
an excerpt is then a copy, so that even a fast device never waits for a decoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from openunmix.audio import AUDIO_EXTENSIONS, read_audio, resample
from openunmix.errors import AudioFileError

__all__ = [
    "SILENCE",
    "Stem",
    "StemLibrary",
    "find_sources",
    "find_tracks",
    "load_files",
    "load_stem",
    "load_tracks",
]

_FULL_SCALE = 32767.0
#: Level below which a stem counts as silent (-40 dBFS): what is there is leakage, not music.
SILENCE = 0.01


@dataclass(frozen=True)
class Stem:
    """One stem of one track.

    Attributes
    ----------
    track : str
        Name of the track.
    target : str
        Name of the source it is a stem of.
    waveform : Tensor [shape=(channels, samples)], int16
        The decoded audio.
    level : float
        Root mean square of its loud half second blocks, full scale being 1; 0 if silent.
    bandwidth : float
        Frequency in Hz above which it says nothing, because it was recorded at a lower rate.
    weight : float
        How often it is drawn, relative to others of its length.
    """

    track: str
    target: str
    waveform: Tensor
    level: float
    bandwidth: float = math.inf
    weight: float = 1.0

    @property
    def samples(self) -> int:
        """Length in samples."""
        return self.waveform.shape[-1]

    def excerpt(self, start: int, samples: int) -> Tensor:
        """Return an excerpt.

        Parameters
        ----------
        start, samples : int
            First sample and length.

        Returns
        -------
        Tensor [shape=(channels=2, samples)], real
            The audio, with silence after the stem's end.
        """
        part = self.waveform[:, start : start + samples].float() / _FULL_SCALE
        part = part.expand(2, -1)
        return torch.nn.functional.pad(part, (0, samples - part.shape[-1]))


class StemLibrary:
    """All stems of a data set, by target and by track.

    ``tracks`` are those that lack one of the targets at most and have two at least: stems that
    were played together. ``shared`` are the names of all tracks with more stems than one.

    Parameters
    ----------
    stems : iterable of Stem
        The stems; those below :data:`SILENCE` and those of other targets are left out.
    targets : sequence of str
        The sources that mixtures are made of, in order.
    backing : sequence of Stem
        Whole music that can take the place of the sources that are its ``target``, joined by
        ``+``; those below :data:`SILENCE` are left out.
    """

    def __init__(
        self, stems: Iterable[Stem], targets: Sequence[str], backing: Iterable[Stem] = ()
    ) -> None:
        self.targets = list(targets)
        self.backing = [stem for stem in backing if stem.level > SILENCE]
        self.by_target: dict[str, list[Stem]] = {target: [] for target in targets}
        tracks: dict[str, dict[str, Stem]] = {}
        for stem in stems:
            if stem.target in self.by_target and stem.level > SILENCE:
                self.by_target[stem.target].append(stem)
                tracks.setdefault(stem.track, {})[stem.target] = stem
        self.shared = {name for name, track in tracks.items() if len(track) > 1}
        enough = max(len(self.targets) - 1, 2)
        self.tracks = [track for track in tracks.values() if len(track) >= enough]
        missing = [target for target, found in self.by_target.items() if not found]
        if missing:
            raise AudioFileError(f"no stem with sound found for {missing}; check the folders")


def find_sources(root: Path) -> list[str]:
    """Find out which stems the tracks below a root have.

    Parameters
    ----------
    root : Path
        As in :func:`find_tracks`.

    Returns
    -------
    list of str
        The names of all audio files in track folders, sorted, but for ``mixture``, which is their
        sum.

    Raises
    ------
    AudioFileError
        If there is no such folder.
    """
    files = [file for folder in _folders(root) for file in folder.iterdir()]
    names = {file.stem for file in files if file.suffix in AUDIO_EXTENSIONS and file.is_file()}
    return sorted(names - {"mixture"})


def find_tracks(root: Path, targets: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Find the folders of stems below a root.

    Parameters
    ----------
    root : Path
        A folder of folders, one a track, with files named after their source.
    targets : sequence of str
        The sources to look for.

    Returns
    -------
    dict of str to dict of str to Path
        Files by track and by target; tracks with none of the targets are left out.

    Raises
    ------
    AudioFileError
        If there is no such folder or no track in it.
    """
    found = {
        folder.name: {
            target: path
            for target in targets
            for path in [folder / f"{target}{extension}" for extension in AUDIO_EXTENSIONS]
            if path.is_file()
        }
        for folder in _folders(root)
    }
    tracks = {name: files for name, files in found.items() if files}
    if not tracks:
        raise AudioFileError(f"{root}: no track folder holds any of {list(targets)}")
    return tracks


def _folders(root: Path) -> list[Path]:
    """Return the folders in a folder."""
    if not root.is_dir():
        raise AudioFileError(f"{root}: no such folder; give a folder of track folders")
    return sorted(path for path in root.iterdir() if path.is_dir())


def load_tracks(
    root: Path,
    targets: Sequence[str],
    sample_rate: int,
    exclude: Mapping[str, Sequence[str]] | None = None,
    weight: float = 1.0,
) -> list[Stem]:
    """Decode a folder of track folders.

    Parameters
    ----------
    root : Path
        As in :func:`find_tracks`.
    targets : sequence of str
        The sources to load.
    sample_rate : int
        Rate in Hz; files of another rate are resampled.
    exclude : mapping of str to sequence of str, optional
        Targets to leave out, by track, where a stem does not hold what its name says.
    weight : float
        How often its stems are drawn, relative to others of their length.

    Returns
    -------
    list of Stem
        The stems.
    """
    exclude = exclude or {}
    return [
        load_stem(path, name, target, sample_rate, weight)
        for name, files in find_tracks(root, targets).items()
        for target, path in files.items()
        if target not in exclude.get(name, ())
    ]


def load_files(root: Path, target: str, sample_rate: int, weight: float = 1.0) -> list[Stem]:
    """Decode all files in a folder, however deep.

    Parameters
    ----------
    root : Path
        A folder of audio files alone.
    target : str
        Name of the source that all of them are.
    sample_rate : int
        Rate in Hz; files of another rate are resampled.
    weight : float
        How often they are drawn, relative to others of their length.

    Returns
    -------
    list of Stem
        The stems, each of a track of its own.

    Raises
    ------
    AudioFileError
        If there are none, or one cannot be read.
    """
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        raise AudioFileError(f"{root}: no files found; give a folder of audio files")
    return [load_stem(path, path.stem, target, sample_rate, weight) for path in files]


def load_stem(path: Path, track: str, target: str, sample_rate: int, weight: float = 1.0) -> Stem:
    """Decode one file, at most two channels of it.

    Parameters
    ----------
    path : Path
        The file.
    track, target : str
        Names of the track and of the source.
    sample_rate : int
        Rate in Hz; a file of another rate is resampled.
    weight : float
        How often it is drawn, relative to others of its length.

    Returns
    -------
    Stem
        The decoded stem.
    """
    clip = read_audio(path)
    waveform = resample(clip.waveform[:2], clip.sample_rate, sample_rate)
    quantised = (waveform.clamp(-1, 1) * _FULL_SCALE).round().to(torch.int16)
    bandwidth = clip.sample_rate / 2 if clip.sample_rate < sample_rate else math.inf
    level = _level(waveform, sample_rate // 2)
    return Stem(track, target, quantised, level, bandwidth, weight)


def _level(waveform: Tensor, block: int) -> float:
    """Root mean square over the blocks that are within 20 dB of the loudest."""
    usable = waveform.shape[-1] // block * block
    if not usable:
        return float(waveform.square().mean().sqrt())
    power = waveform[:, :usable].square().mean(dim=0).reshape(-1, block).mean(dim=1)
    return float(power[power >= 0.01 * power.max()].mean().sqrt())
