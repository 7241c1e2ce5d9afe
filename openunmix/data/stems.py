"""Stems of tracks, decoded once and kept in memory as 16-bit integers.

A minute of one stereo stem takes 10.6 MB, a track of four minutes with four stems 170 MB. Drawing
an excerpt is then a copy, so that even a fast device never waits for a decoder.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openunmix.audio import AudioSource, read_audio, resample
from openunmix.data.finder import ACCEPTED, contents, files_below, respelled
from openunmix.data.levels import SILENCE, block_powers, loud_level, silence_text
from openunmix.data.tracks import Track, find_tracks
from openunmix.errors import AudioFileError

#: What full scale is as a 16-bit integer.
FULL_SCALE = 32767.0

logger = logging.getLogger(__name__)


class StemFolder(NamedTuple):
    """A folder of track folders, or of files of one ``target``, and how often it is drawn.

    ``weight`` is relative to other stems of the same length; ``share``, in place of it, is the
    probability among all stems of a target.
    """

    path: str
    target: str | None = None
    weight: float = 1.0
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> StemFolder:
        """Parse FOLDER, FOLDER=WEIGHT or FOLDER=PERCENT%."""
        path, _, amount = text.rpartition("=")
        try:
            if path and amount.endswith("%"):
                return cls(path, share=float(amount[:-1]) / 100)
            return cls(path, weight=float(amount)) if path else cls(text)
        except ValueError:  # a folder with an equals sign in its name
            return cls(text)


@dataclass(frozen=True)
class Stem:
    """One stem of one track."""

    track: str
    target: str  # name of the source; several are joined by "+"
    waveform: Tensor  # (channels, samples), int16, of one or two channels
    level: float  # RMS of its loud half-second blocks, full scale being 1; 0 if silent
    bandwidth: float = math.inf  # Nyquist frequency in Hz of a recording at a lower rate
    weight: float = 1.0  # relative probability among others of its length
    scale: float = 1.0  # what full scale of the integers is; more where floats exceed 1

    @property
    def samples(self) -> int:
        """Length in samples."""
        return self.waveform.shape[-1]

    def excerpt(self, start: int, samples: int) -> Tensor:
        """Excerpt (2, samples), float32, padded with silence after the stem's end."""
        part = self.waveform[:, start : start + samples].float() * (self.scale / FULL_SCALE)
        return torch.nn.functional.pad(part.expand(2, -1), (0, samples - part.shape[-1]))


class StemLibrary:
    """All stems of a dataset, by target and by track.

    ``tracks`` are those that lack one target at most and have two at least: stems that were played
    together. ``shared`` are the names of all tracks with more stems than one. Stems below
    :data:`SILENCE` and of other targets are left out; ``accompaniment`` is music that replaces the
    sources in its ``target``.
    """

    def __init__(
        self, stems: Iterable[Stem], targets: Sequence[str], accompaniment: Iterable[Stem] = ()
    ) -> None:
        self.targets = list(targets)
        self.accompaniment = [stem for stem in accompaniment if stem.level > SILENCE]
        self.by_target: dict[str, list[Stem]] = {target: [] for target in targets}
        tracks: dict[str, dict[str, Stem]] = {}
        stems = list(stems)
        there = sorted({stem.target for stem in stems if stem.level > SILENCE})
        for stem in stems:
            if stem.target in self.by_target and stem.level > SILENCE:
                self.by_target[stem.target].append(stem)
                tracks.setdefault(stem.track, {})[stem.target] = stem
        self.shared = {name for name, track in tracks.items() if len(track) > 1}
        enough = max(len(self.targets) - 1, 2)
        self.tracks = [track for _, track in sorted(tracks.items()) if len(track) >= enough]
        missing = [target for target, found in self.by_target.items() if not found]
        if missing:
            raise AudioFileError(
                f"no stem that is not silent found for {missing}, but for {there}; check --root; "
                f"{ACCEPTED}"
            )

    @property
    def device(self) -> torch.device:
        """Where the stems are."""
        return next(iter(self.by_target.values()))[0].waveform.device

    def to(self, device: torch.device | str) -> StemLibrary:
        """Return the library with all waveforms on a device."""

        def moved(stems: Iterable[Stem]) -> list[Stem]:
            return [replace(stem, waveform=stem.waveform.to(device)) for stem in stems]

        stems = [stem for of in self.by_target.values() for stem in moved(of)]
        return StemLibrary(stems, self.targets, moved(self.accompaniment))


def load_folders(
    folders: Sequence[StemFolder],
    targets: Sequence[str],
    sample_rate: int,
    exclude: Mapping[str, Sequence[str]] | None = None,
) -> list[Stem]:
    """Decode folders, with weights that follow from their shares."""
    found = [_audible(load_folder(folder, targets, sample_rate, exclude)) for folder in folders]
    targets = list(dict.fromkeys(stem.target for stems in found for stem in stems))
    return [stem for target in targets for stem in _share_out(folders, found, target)]


def _audible(stems: Iterable[Stem]) -> list[Stem]:
    """Leave out silent stems, with a warning."""
    kept = []
    for stem in stems:
        if stem.level > SILENCE:
            kept.append(stem)
        else:
            reason = silence_text(stem.level)
            logger.warning("left out: %s of %s: %s", stem.target, stem.track, reason)
    return kept


def _share_out(
    folders: Sequence[StemFolder], found: Sequence[Sequence[Stem]], target: str
) -> Iterator[Stem]:
    """Yield the stems of a target, their weights scaled to the shares of their folders."""
    used = [[s for s in of if s.target == target] for of in found]
    pairs = [pair for pair in zip(folders, used, strict=True) if pair[1]]
    fixed = sum(folder.share or 0.0 for folder, _ in pairs)
    common = sum(float(draw_weights(of).sum()) for folder, of in pairs if folder.share is None)
    if fixed > 1 or (fixed < 1 and fixed and not common):
        raise ValueError(f"the shares of {target!r} in its folders are {fixed:.0%} together")
    for folder, stems in pairs:
        factor = 1.0
        if folder.share is not None:
            factor = folder.share / float(draw_weights(stems).sum())
        elif fixed:
            factor = (1 - fixed) / common
        yield from (replace(stem, weight=stem.weight * factor) for stem in stems)


def draw_weights(stems: Sequence[Stem]) -> np.ndarray:
    """Relative probability of each stem: its weight times the square root of its length."""
    return np.array([stem.weight * stem.samples**0.5 for stem in stems])


def stem_tracks(
    folder: StemFolder,
    targets: Sequence[str],
    exclude: Mapping[str, Sequence[str]] | None = None,
) -> list[Track]:
    """Tracks of a folder with their stems of some targets, but for those to ``exclude``.

    Each file of a folder of one target is a track of its own. AudioFileError if there is nothing.
    """
    root = Path(folder.path)
    if folder.target is not None:
        files = files_below(root) if root.is_dir() else []
        if not files:
            there = contents(root) if root.is_dir() else "there is no such folder"
            raise AudioFileError(f"{root}: no audio files found; {there}; {ACCEPTED}")
        return [
            Track(path.stem, sources={folder.target: AudioSource(path)}, path=path)
            for path in files
        ]
    tracks = find_tracks(root, subset="", is_wav=True)
    tracks = [replace(of, sources=respelled(of.sources, targets)) for of in tracks]
    if not any(target in of.sources for of in tracks for target in targets):
        there = contents(tracks[0].path or root)
        raise AudioFileError(
            f"{root}: no track folder holds any of {list(targets)}; in {tracks[0].name} {there}; "
            f"{ACCEPTED}"
        )
    return [_without(track, (exclude or {}).get(track.name, ())) for track in tracks]


def _without(track: Track, excluded: Sequence[str]) -> Track:
    """Track without some of its stems, and then without its mixture."""
    sources = {name: source for name, source in track.sources.items() if name not in excluded}
    complete = len(sources) == len(track.sources)
    return replace(track, sources=sources, mixture=track.mixture if complete else None)


def load_folder(
    folder: StemFolder,
    targets: Sequence[str],
    sample_rate: int,
    exclude: Mapping[str, Sequence[str]] | None = None,
) -> list[Stem]:
    """Decode the stems of a folder; those that cannot be read are left out, with a warning."""
    stems, errors = [], []
    for track in stem_tracks(folder, targets, exclude):
        for target in (folder.target,) if folder.target else targets:
            source = track.sources.get(target)
            if source is not None:
                try:
                    stem = load_stem(source.path, track.name, target, sample_rate, folder.weight)
                except AudioFileError as error:
                    errors.append(error)
                    logger.warning("left out: %s", error)
                else:
                    stems.append(stem)
    if errors and not stems:
        raise AudioFileError(f"{folder.path}: none of {len(errors)} stems can be read: {errors[0]}")
    return stems


def load_stem(path: Path, track: str, target: str, sample_rate: int, weight: float = 1.0) -> Stem:
    """Decode one file at ``sample_rate`` in Hz, more than two channels mixed down to stereo.

    Two equal channels are kept as one, which marks the stem as mono.
    """
    clip = read_audio(path, stereo=True)
    waveform = resample(clip.waveform, clip.sample_rate, sample_rate)
    if not waveform.numel():
        raise AudioFileError(f"{path}: there is no audio in it")
    scale = max(1.0, float(waveform.abs().max()))  # float files exceed 1
    quantised = (waveform * (FULL_SCALE / scale)).round().to(torch.int16)
    if len(quantised) == 2 and torch.equal(quantised[0], quantised[1]):
        quantised = quantised[:1].clone()
    bandwidth = clip.sample_rate / 2 if clip.sample_rate < sample_rate else math.inf
    samples = clip.waveform.numpy()
    powers = block_powers(samples, clip.sample_rate)
    level = loud_level(powers, float(np.square(samples).mean(dtype=np.float64)))
    return Stem(track, target, quantised, level, bandwidth, weight, scale)
