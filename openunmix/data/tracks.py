"""Tracks: their audio files and their decoded audio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from openunmix.audio import (
    STEM_MP4,
    STEM_MP4_STREAMS,
    AudioClip,
    AudioSource,
    read_audio,
)
from openunmix.data.finder import ACCEPTED, contents, folded, is_visible
from openunmix.data.finder import audio_files as audio_files  # beside Track, for evaluation
from openunmix.errors import AudioFileError

#: Name of the file of a mixture, without its extension.
MIXTURE = "mixture"


@dataclass(frozen=True)
class Track:
    """A track and its audio files."""

    name: str  # also of the file of its scores
    subset: str = ""  # part of the dataset, such as "test"
    sources: Mapping[str, AudioSource] = field(default_factory=dict)  # stems by name
    mixture: AudioSource | None = None  # if there is a file of it
    path: Path | None = None  # its folder or file
    missing: tuple[str, ...] = ()  # names of files that the dataset needs and the track lacks
    estimates: Path | None = None  # folder of its estimates, if given one by one

    def read(self) -> TrackAudio:
        """Decode the track; the mixture is the sum of the sources if it has no file.

        AudioFileError if a file cannot be read, has values that are not finite, or differs from
        the others in sample rate, channels or length.
        """
        files = dict(self.sources)
        if self.mixture is not None:
            files[MIXTURE] = self.mixture
        sample_rate, waveforms = read_alike(files)
        mixture = waveforms.pop(MIXTURE, None)
        if mixture is None:
            mixture = total(waveforms.values())
        return TrackAudio(self, sample_rate, mixture, waveforms)


@dataclass(frozen=True)
class TrackAudio:
    """Decoded audio of a track: waveforms (channels, samples), all of one shape."""

    track: Track
    sample_rate: int
    mixture: Tensor
    sources: dict[str, Tensor]

    @property
    def name(self) -> str:
        """Name of the track."""
        return self.track.name

    @property
    def stacked(self) -> Tensor:
        """The sources as one tensor (sources, channels, samples)."""
        return torch.stack(list(self.sources.values()))

    @property
    def has_other_sources(self) -> bool:
        """Whether the mixture holds more than these sources, above -60 dB of it."""
        residual = self.mixture - self.stacked.sum(dim=0)
        return bool(residual.square().sum() > 1e-6 * self.mixture.square().sum())


def total(waveforms: Iterable[Tensor]) -> Tensor:
    """Sum waveforms in the memory of two; a single one is returned without a copy."""
    return reduce(torch.add, waveforms)


def read_alike(sources: Mapping[str, AudioSource]) -> tuple[int, dict[str, Tensor]]:
    """Decode files of one rate and shape; AudioFileError for one that differs from the first."""
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
    """Decode a source; streams of ``.stem.mp4`` are rounded to 16 bits, as in the package musdb.

    AAC removes high frequencies, so the filters of BSS Eval depend on the rounding noise: without
    it, museval's own SIR differs by 28 dB.
    """
    clip = read_audio(source.path, source.start, source.duration, source.stream, stereo=True)
    if source.stream is not None:
        clip.waveform.mul_(32768).round_().clamp_(-32768, 32767).div_(32768)
    return clip


def shape_text(waveform: Tensor) -> str:
    """Describe the shape of a waveform."""
    channels = {1: "one channel", 2: "two channels"}.get(len(waveform), f"{len(waveform)} channels")
    return f"{channels} of {waveform.shape[1]} samples"


def find_tracks(root: Path, subset: str = "test", is_wav: bool = False) -> list[Track]:
    """Find the tracks of a dataset.

    Parameters
    ----------
    root : Path
        Folder with a folder of the subset, or that folder itself. It holds ``.stem.mp4`` files,
        as MUSDB18, or a folder per track with a file per stem, as MUSDB18-HQ. A file named
        ``mixture`` is the mixture.
    subset : str
        Part of the dataset; ``""`` where the root itself holds the tracks.
    is_wav : bool
        Whether to ignore ``.stem.mp4`` files.

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
        raise AudioFileError(f"{root}: no such folder; give a folder of tracks")
    entries = [path for path in sorted(folder.iterdir()) if is_visible(path)]
    tracks = [] if is_wav else [_stem_mp4(path, subset) for path in entries if _is_stem_mp4(path)]
    if not tracks:
        tracks = [track_of(path, subset) for path in entries if path.is_dir()]
        tracks = [track for track in tracks if track.sources or track.mixture]
    if not tracks:
        there = (
            f"{folder}" if folder != root or not subset else f"{root} has no folder {subset} and"
        )
        raise AudioFileError(
            f"{there} holds no tracks: expected .stem.mp4 files, or a folder of stems per track; "
            f"{contents(folder)}; {ACCEPTED}"
        )
    return tracks


def find_sources(root: Path, names: Iterable[str] = ()) -> list[str]:
    """Sorted names of all stems in a folder of track folders, spelled as in ``names``."""
    tracks = find_tracks(root, subset="", is_wav=True)
    found = sorted({name for track in tracks for name in track.sources})
    spelled = {folded(name): name for name in [*found, *names]}
    return sorted({spelled[folded(name)] for name in found})


def _is_stem_mp4(path: Path) -> bool:
    """Whether a path is a ``.stem.mp4`` file."""
    return path.name.lower().endswith(STEM_MP4) and path.is_file()


def _stem_mp4(path: Path, subset: str) -> Track:
    """Return the track in a file."""
    streams = {name: AudioSource(path, stream) for stream, name in enumerate(STEM_MP4_STREAMS)}
    return Track(path.name[: -len(STEM_MP4)], subset, streams, streams.pop(MIXTURE), path)


def track_of(folder: Path, subset: str = "") -> Track:
    """Return the track in a folder of stems."""
    sources = {name: AudioSource(file) for name, file in audio_files(folder, [MIXTURE]).items()}
    return Track(folder.name, subset, sources, sources.pop(MIXTURE, None), folder)
