"""Excerpts of audio files: what the datasets of files share."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openunmix.data.base import MixingDataset, UnmixDataset
from openunmix.data.finder import contents
from openunmix.data.layouts import usable
from openunmix.data.recordings import Recording, decoded_folder, to_channels
from openunmix.data.tracks import Track
from openunmix.errors import AudioFileError

logger = logging.getLogger(__name__)


class Excerpt(NamedTuple):
    """A contiguous part of a track: first sample and number of samples."""

    start: int
    length: int


#: Recording, None for silence, and excerpt of it by name of the source.
Chosen = dict[str, tuple[Recording | None, Excerpt]]


def excerpt_of(
    available: int,
    length: int | None,
    generator: np.random.Generator | None = None,
    centred: bool = False,
) -> Excerpt:
    """Choose an excerpt of ``length`` samples, or of all if fewer are available or it is None.

    With a generator its start is uniformly random, otherwise 0, or such that it is centred.
    """
    length = available if length is None else min(length, available)
    spare = available - length
    if generator is not None:
        return Excerpt(int(generator.integers(spare + 1)), length)
    return Excerpt(spare // 2 if centred else 0, length)


class OpenTrack(NamedTuple):
    """The files of a track that are read: sources by name, and the mixture if it is used."""

    sources: dict[str, Recording]
    mixture: Recording | None = None

    @property
    def recordings(self) -> list[Recording]:
        """All files."""
        return [*([self.mixture] if self.mixture else []), *self.sources.values()]


def open_track(track: Track, with_mixture: bool, least: int, sample_rate: int) -> OpenTrack | str:
    """Open a track, or return why it is skipped: incomplete, unreadable, or too short.

    Its shortest file needs ``least`` samples at a rate in Hz.
    """
    if track.missing:
        there = f"; {contents(track.path)}" if track.path and track.path.is_dir() else ""
        return f"there is no {', no '.join(track.missing)}{there}"
    try:
        mixture = Recording.open(track.mixture) if with_mixture and track.mixture else None
        stems = {name: Recording.open(source) for name, source in track.sources.items()}
    except AudioFileError as error:
        return str(error)
    opened = OpenTrack(stems, mixture)
    length = min((file.length(sample_rate) for file in opened.recordings), default=0)
    if length < least:
        return f"it lasts {length / sample_rate:.3f} s, an excerpt {least / sample_rate:.3f} s"
    return opened


class FileDataset(UnmixDataset):
    """A dataset of excerpts of audio files."""

    @property
    def _is_whole(self) -> bool:
        """Whether items are whole tracks as they are, whatever the duration of excerpts."""
        return False

    def _open(
        self, tracks: Iterable[Track], folder: Path, with_mixture: bool = False
    ) -> list[OpenTrack]:
        """Open the tracks; skip those that cannot be used."""
        least = 1 if self._is_whole else self._excerpt_length or 1
        return usable(
            {
                track.path or folder: open_track(track, with_mixture, least, self._rate)
                for track in tracks
            },
            folder,
        )

    def _fix_channels(self, tracks: Iterable[OpenTrack]) -> None:
        """Fix the number of channels of all items; warn about files that will be converted."""
        recordings = [recording for track in tracks for recording in track.recordings]
        counts = {recording.channels for recording in recordings}
        self.channels = max(counts) if len(counts - {1}) <= 1 else 2
        others = [recording for recording in recordings if not recording.is_direct(self._rate)]
        if others:
            size = sum(4 * found.channels * found.length(self._rate) for found in others)
            logger.warning(
                "%d of %d recordings are not PCM at %d Hz, such as %s (%s, %d Hz): each is "
                "converted once, when it is first read, into %s, which takes up to %.2f GB",
                len(others),
                len(recordings),
                self._rate,
                others[0].source.path,
                others[0].codec,
                others[0].sample_rate,
                decoded_folder(),
                size / 1e9,
            )

    def _read(self, recording: Recording, excerpt: Excerpt) -> Tensor:
        """Read an excerpt at the rate and with the channels of the dataset."""
        waveform = recording.read(*excerpt, self._rate)
        try:
            if self.channels is None:
                return waveform
            return to_channels(waveform, self.channels, recording.layout)
        except ValueError as error:
            raise AudioFileError(f"{recording.source.path}: {error}") from error

    def _length(self, *recordings: Recording) -> int:
        """Length of the shortest recording in samples at the rate of the dataset."""
        return min((recording.length(self._rate) for recording in recordings), default=0)

    def _excerpt(
        self,
        recordings: Iterable[Recording],
        generator: np.random.Generator,
        centred: bool = False,
    ) -> Excerpt:
        """Choose an excerpt within all recordings."""
        start_from = generator if self.random_chunks else None
        return excerpt_of(self._length(*recordings), self._excerpt_length, start_from, centred)

    def _choose(self, index: int, generator: np.random.Generator) -> Chosen:
        """Choose the excerpts of the sources of an item."""
        raise NotImplementedError

    def bandwidths(self, index: int) -> dict[str, float]:
        """Half the sample rate of each source recorded at a lower rate than the dataset's."""
        index = self._checked(index)
        chosen = self._choose(index, self.generator(index))
        return {
            name: recording.sample_rate / 2
            for name, (recording, _) in chosen.items()
            if recording is not None and recording.sample_rate < self._rate
        }


class ExcerptDataset(FileDataset, MixingDataset):
    """A dataset whose items are mixed from excerpts of files."""

    def sources(self, index: int) -> dict[str, Tensor]:
        """Read and augment the sources of an item, cut to the shortest of them."""
        index = self._checked(index)
        generator = self.generator(index)
        chosen = self._choose(index, generator)
        length = min((excerpt.length for _, excerpt in chosen.values()), default=0)
        sources = {}
        for name, (recording, excerpt) in chosen.items():
            if recording is None:
                sources[name] = torch.zeros(self.channels or 1, length)
                continue
            waveform = self._read(recording, excerpt._replace(length=length))
            sources[name] = waveform if self._is_whole else self.augment(waveform, generator)
        return sources
