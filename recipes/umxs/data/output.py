"""Track folders of stems, with a record of where each came from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from effects import level
from packages import Cache
from sources import SOURCES

__all__ = ["Output"]

_SILENT = 1e-3
_PEAK = 0.9


class Output:
    """The folder of a dataset.

    Parameters
    ----------
    folder : Path
        Where it is.
    cache : Cache
        Where its material comes from.
    """

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.folder = folder
        self.cache = cache

    def has(self, group: str, track: str) -> bool:
        """Whether a track or a recording has been written."""
        return (self.folder / group / track).exists()

    def write(
        self,
        group: str,
        track: str,
        stems: Mapping[str, np.ndarray],
        rate: int,
        packages: Sequence[str],
    ) -> float:
        """Write the stems of a track and note its sources.

        All stems are scaled by one factor, so that neither they nor their sum clip; silent ones
        are left out.

        Parameters
        ----------
        group, track : str
            Folder and folder in it.
        stems : mapping of str to numpy.ndarray [shape=(samples, 2)]
            The stems by name.
        rate : int
            Sample rate in Hz.
        packages : sequence of str
            Keys of :data:`sources.SOURCES` that went into the track.

        Returns
        -------
        float
            The track's length in seconds; 0 if all of it is silent.
        """
        kept = {name: stem for name, stem in stems.items() if level(stem) > _SILENT}
        if not kept:
            return 0.0
        peak = max(np.abs(sound).max() for sound in [*kept.values(), sum(kept.values())])
        target = self.folder / group / track
        temporary = self.folder / ".part"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, stem in kept.items():
            soundfile.write(temporary / f"{name}.flac", stem * (_PEAK / peak), rate, "PCM_16")
        target.parent.mkdir(exist_ok=True)
        os.replace(temporary, target)
        self._note(f"{group}/{track}", packages)
        return len(next(iter(kept.values()))) / rate

    def write_alone(
        self, source: str, name: str, sound: np.ndarray, rate: int, packages: Sequence[str]
    ) -> float:
        """Write a recording of one source and note where it is from.

        Parameters
        ----------
        source : str
            Which source it is: the folder's name.
        name : str
            Name of the recording.
        sound : numpy.ndarray [shape=(samples, 2)]
            The recording.
        rate : int
            Sample rate in Hz.
        packages : sequence of str
            As for :meth:`write`.

        Returns
        -------
        float
            Its length in seconds.
        """
        target = self.folder / source / f"{name}.flac"
        temporary = self.folder / ".part.flac"
        target.parent.mkdir(parents=True, exist_ok=True)
        scaled = sound * (_PEAK / max(float(np.abs(sound).max()), _SILENT))
        soundfile.write(temporary, scaled, rate, "PCM_16")
        os.replace(temporary, target)
        self._note(f"{source}/{name}", packages)
        return len(sound) / rate

    def _note(self, track: str, packages: Sequence[str]) -> None:
        """Add a track and its packages to the record; keep their copyright files."""
        path = self.folder / "attribution.json"
        record = json.loads(path.read_text()) if path.is_file() else {"sources": {}, "tracks": {}}
        record["tracks"][track] = sorted(packages)
        for package in packages:
            source = SOURCES[package]
            record["sources"][package] = {"licence": source.licence, "authors": source.authors}
            if not source.packaged:
                continue
            record["sources"][package]["version"] = self.cache.version(package)
            copy = self.folder / "copyright" / package
            if not copy.is_file():
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(self.cache.copyright(package), copy)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        os.replace(temporary, path)
