"""Which tracks there are, and their audio: MUSDB18, folders of stems, lists of pairs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from openunmix.audio import (
    AUDIO_EXTENSIONS,
    STEM_MP4,
    STEM_MP4_STREAMS,
    AudioClip,
    AudioSource,
    read_audio,
)
from openunmix.errors import AudioFileError

__all__ = [
    "AnyTrack",
    "Track",
    "TrackAudio",
    "TrackInMemory",
    "audio_files",
    "find_estimates",
    "find_pairs",
    "find_tracks",
    "read_alike",
    "shape_text",
    "total",
]

_MIXTURE = "mixture"


class TrackAudio(NamedTuple):
    """The decoded audio of a track: waveforms (channels, samples), all of one shape.

    Attributes
    ----------
    sample_rate : int
        Hz.
    mixture : Tensor
        What is to be separated.
    stems : dict of str to Tensor
        The true sources.
    """

    sample_rate: int
    mixture: Tensor
    stems: dict[str, Tensor]


@dataclass(frozen=True)
class Track:
    """Where the audio of a track is.

    Attributes
    ----------
    name : str
        What it is called; also the name of the file of its scores.
    subset : str
        Part of the data set, such as ``"test"``.
    stems : mapping of str to AudioSource
        The true sources.
    mixture : AudioSource, optional
        What is to be separated; the sum of the stems if not given.
    estimates : Path, optional
        A folder of estimates, if those of this track are in a place of their own.
    """

    name: str
    subset: str
    stems: Mapping[str, AudioSource]
    mixture: AudioSource | None = None
    estimates: Path | None = None

    def read(self) -> TrackAudio:
        """Decode the track.

        Returns
        -------
        TrackAudio
            Its audio.

        Raises
        ------
        AudioFileError
            If a file cannot be read, has values that are not finite, or differs from the others
            in sample rate, channels or length.
        """
        sources = dict(self.stems)
        if self.mixture is not None:
            sources[_MIXTURE] = self.mixture
        sample_rate, waveforms = read_alike(sources)
        mixture = waveforms.pop(_MIXTURE, None)
        if mixture is None:
            mixture = total(waveforms.values())
        return TrackAudio(sample_rate, mixture, waveforms)


@dataclass(frozen=True)
class TrackInMemory:
    """A track whose audio is decoded already; its attributes as those of :class:`Track`."""

    name: str
    subset: str
    audio: TrackAudio
    estimates: Path | None = None

    def read(self) -> TrackAudio:
        """Return the audio."""
        return self.audio


AnyTrack = Track | TrackInMemory


def total(waveforms: Iterable[Tensor]) -> Tensor:
    """Sum waveforms without more memory than the sum; a single one is itself and no copy."""
    return reduce(torch.add, waveforms)


def read_alike(sources: Mapping[str, AudioSource]) -> tuple[int, dict[str, Tensor]]:
    """Decode files that belong together; raise AudioFileError for one unlike the first."""
    clips = {name: _read(source) for name, source in sources.items()}
    first, expected = next(iter(clips.items()))
    for name, clip in clips.items():
        if clip.sample_rate != expected.sample_rate:
            raise AudioFileError(
                f"{name} has a sample rate of {clip.sample_rate} Hz, {first} of "
                f"{expected.sample_rate} Hz; convert one of them"
            )
        if clip.waveform.shape != expected.waveform.shape:
            raise AudioFileError(
                f"{name} has {shape_text(clip.waveform)}, {first} {shape_text(expected.waveform)}; "
                "make them alike"
            )
    return expected.sample_rate, {name: clip.waveform for name, clip in clips.items()}


def _read(source: AudioSource) -> AudioClip:
    """Decode a source; a stream of a file of MUSDB18 to 16 bits, as the package musdb does.

    AAC has no treble, so the filters of BSS Eval hang on the 16th bit: without it, museval's own
    SIR differs by 28 dB.
    """
    clip = read_audio(source.path, stream=source.stream)
    if source.stream is not None:
        clip.waveform.mul_(32768).round_().clamp_(-32768, 32767).div_(32768)
    return clip


def shape_text(waveform: Tensor) -> str:
    """Describe the shape of a waveform."""
    channels = {1: "one channel", 2: "two channels"}.get(len(waveform), f"{len(waveform)} channels")
    return f"{channels} of {waveform.shape[1]} samples"


def find_tracks(root: Path, subset: str = "test", is_wav: bool = False) -> list[Track]:
    """Find the tracks of a data set.

    Parameters
    ----------
    root : Path
        A folder with a folder named like the subset, or that folder itself: of ``.stem.mp4``
        files as in MUSDB18, or of a folder per track with a file per stem, as in MUSDB18-HQ.
        A file called ``mixture`` is what will be separated.
    subset : str
        Part of the data set.
    is_wav : bool
        Look only at folders of stems.

    Returns
    -------
    list of Track
        The tracks, sorted by name.

    Raises
    ------
    AudioFileError
        If there is no such folder or no track in it.
    """
    folder = root / subset if (root / subset).is_dir() else root
    if not folder.is_dir():
        raise AudioFileError(f"{root}: no such folder; give the folder of a data set")
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    tracks = [] if is_wav else [_musdb(path, subset) for path in entries if _is_stem_mp4(path)]
    if not tracks:
        tracks = [_folder(path, subset) for path in entries if path.is_dir()]
        tracks = [track for track in tracks if track.stems or track.mixture]
    if not tracks:
        there = f"{folder}" if folder != root else f"{root} has no folder {subset} and"
        raise AudioFileError(
            f"{there} holds no tracks: expected .stem.mp4 files, or a folder of stems per track"
        )
    return tracks


def _is_stem_mp4(path: Path) -> bool:
    """Whether a file is one of MUSDB18."""
    return path.name.lower().endswith(STEM_MP4) and path.is_file()


def _musdb(path: Path, subset: str) -> Track:
    """Return a track in one file."""
    stems = {name: AudioSource(path, stream) for stream, name in enumerate(STEM_MP4_STREAMS)}
    return Track(path.name[: -len(STEM_MP4)], subset, stems, stems.pop(_MIXTURE))


def _folder(path: Path, subset: str) -> Track:
    """Return a track in a folder of stems."""
    stems = {name: AudioSource(file) for name, file in audio_files(path).items()}
    return Track(path.name, subset, stems, stems.pop(_MIXTURE, None))


def audio_files(folder: Path) -> dict[str, Path]:
    """Audio files in a folder, by their names without extension."""
    files = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in AUDIO_EXTENSIONS),
        key=lambda path: (AUDIO_EXTENSIONS.index(path.suffix.lower()), path.name),
    )
    return {path.stem: path for path in files if path.is_file() and path.name[0] != "."}


def find_pairs(file: Path, subset: str = "test") -> list[Track]:
    """Read a list of pairs: folders of stems, and of their estimates.

    Parameters
    ----------
    file : Path
        A CSV file with two columns and no heading: the folder of a track and the folder of its
        estimates, relative to the file's own folder.
    subset : str
        What to call the whole.

    Returns
    -------
    list of Track
        The tracks.

    Raises
    ------
    AudioFileError
        If the file cannot be read, a line is not a pair, or two tracks have the same name.
    """
    try:
        lines = list(csv.reader(file.read_text("utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AudioFileError(f"{file}: not a list of pairs: {error}") from error
    tracks = [
        _pair(file, number, line, subset) for number, line in enumerate(lines, 1) if any(line)
    ]
    names = [track.name for track in tracks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not tracks:
        raise AudioFileError(f"{file}: " + (f"{twice} occur twice" if twice else "no pairs in it"))
    return tracks


def _pair(file: Path, number: int, line: Iterable[str], subset: str) -> Track:
    """Return the track of one line."""
    folders = [file.parent / cell.strip() for cell in line]
    if len(folders) != 2:
        raise AudioFileError(f"{file}, line {number}: give two folders with a comma between them")
    for folder in folders:
        if not folder.is_dir():
            raise AudioFileError(f"{file}, line {number}: {folder} is not a folder")
    track = _folder(folders[0].resolve(), subset)
    return Track(track.name, subset, track.stems, track.mixture, folders[1])


def find_estimates(root: Path, track: AnyTrack) -> Path:
    """Folder of a track's estimates.

    Parameters
    ----------
    root : Path
        Where the estimates of all tracks are: a folder per track, or per subset and track.
    track : Track
        The track.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    AudioFileError
        If there is none.
    """
    places = [root / track.subset / track.name, root / track.name]
    if track.estimates is not None:
        places = [track.estimates]
    for place in places:
        if place.is_dir():
            return place
    raise AudioFileError(f"no estimates: there is no folder {' or '.join(map(str, places))}")
