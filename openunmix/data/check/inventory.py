"""Which files a data set is made of: found by names alone, none of them opened.

The data sets leave out what they cannot use; this lists it too, for :mod:`openunmix.data.check`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from openunmix.data._folders import files_of, track_folders
from openunmix.data.musdb import open_database, stream_of
from openunmix.data.stems import find_sources, find_tracks
from openunmix.errors import AudioFileError

__all__ = ["Stream", "Track", "inventory"]


class Stream(NamedTuple):
    """Where the audio of a source is.

    Attributes
    ----------
    path : Path
        The file.
    stream : int
        Which of its audio streams.
    """

    path: Path
    stream: int = 0

    def __str__(self) -> str:
        return f"{self.path} (stream {self.stream})" if self.stream else str(self.path)


@dataclass(frozen=True)
class Track:
    """What there is of a track.

    Attributes
    ----------
    path : Path
        Its folder or file.
    sources : dict of str to Stream
        Its stems by the name of their source.
    mixture : Stream, optional
        Its mixture, where there is a file for it.
    missing : tuple of str
        File names that the data set needs and that are not there.
    """

    path: Path
    sources: dict[str, Stream]
    mixture: Stream | None = None
    missing: tuple[str, ...] = field(default=())


def inventory(args: argparse.Namespace, split: str) -> list[Track]:
    """List the tracks of a split.

    Parameters
    ----------
    args : argparse.Namespace
        The options of a data set, as for :func:`openunmix.data.make_datasets`.
    split : str
        ``"train"`` or ``"valid"``.

    Returns
    -------
    list of Track
        Sorted by path. Of a data set of source folders, each file is a track of its own; the
        data set ``"synthetic"`` has none.

    Raises
    ------
    AudioFileError
        If the folder of the split, or one that it needs, is missing or empty.
    ValueError
        If the data set is unknown or has no root.
    """
    if args.dataset == "synthetic":
        return []
    if args.dataset not in _FINDERS:
        raise ValueError(f"unknown data set {args.dataset!r}; choose from {[*_FINDERS]}")
    if args.root is None and args.dataset != "musdb":
        raise ValueError(f"--root is missing: the folder of the data set {args.dataset!r}")
    tracks = _FINDERS[args.dataset](args, split)
    if not tracks:
        raise AudioFileError(f"{Path(args.root or 'MUSDB18', split)}: there are no tracks in it")
    return tracks


def _aligned(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders with a file that the network is given, and one that it is to estimate."""
    tracks = []
    for folder in track_folders(Path(args.root).expanduser(), split):
        found = {name: files_of(folder, name) for name in (args.input_file, args.output_file)}
        mixture, target = found[args.input_file], found[args.output_file]
        sources = {Path(args.output_file).stem: Stream(target[0])} if target else {}
        missing = tuple(name for name, files in found.items() if not files)
        tracks.append(Track(folder, sources, Stream(mixture[0]) if mixture else None, missing))
    return tracks


def _source_folder(args: argparse.Namespace, split: str) -> list[Track]:
    """List the files in the folder of each source."""
    tracks = []
    for name in [args.target_dir, *args.interferer_dirs]:
        folder = Path(args.root, split, name).expanduser()
        files = files_of(folder, f"*{args.ext}")
        if not files:
            raise AudioFileError(f"{folder}: there are no files *{args.ext} for the source {name}")
        tracks += [Track(path, {name: Stream(path)}) for path in files]
    return tracks


def _fixed_sources(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders that all have the same stems."""
    tracks = []
    names = [args.target_file, *args.interferer_files]
    for folder in track_folders(Path(args.root).expanduser(), split):
        there = [name for name in names if (folder / name).is_file()]
        sources = {Path(name).stem: Stream(folder / name) for name in there}
        missing = tuple(name for name in names if name not in there)
        tracks.append(Track(folder, sources, _mixture(folder), missing))
    return tracks


def _variable_sources(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders with any stems beside the target."""
    tracks = []
    for folder in track_folders(Path(args.root).expanduser(), split):
        files = {folder / args.target_file, *files_of(folder, f"*{args.ext}")}
        there = sorted(path for path in files if path.is_file())
        sources = {path.stem: Stream(path) for path in there if path.stem != "mixture"}
        lacks = Path(args.target_file).stem not in sources
        missing = (args.target_file,) if lacks and not args.silence_missing else ()
        tracks.append(Track(folder, sources, _mixture(folder), missing))
    return tracks


def _stems(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders with stems, in any format."""
    root = Path(args.root).expanduser() / split
    found = find_tracks(root, [*args.targets, *find_sources(root)])
    tracks = []
    for name, files in found.items():
        folder = Path(args.root, split, name).expanduser()
        sources = {target: Stream(path) for target, path in files.items()}
        tracks.append(Track(folder, sources, _mixture(folder)))
    return tracks


def _musdb(args: argparse.Namespace, split: str) -> list[Track]:
    """Tracks that the package musdb finds."""
    root = None if args.root is None else Path(args.root).expanduser()
    options = {"is_wav": args.is_wav, "split": split, "subsets": "train"}
    database = open_database(root, download=args.root is None, **options)
    return [_musdb_track(track, database, args.is_wav) for track in database.tracks]


def _musdb_track(track: Any, database: Any, is_wav: bool) -> Track:
    """Stems of a track of MUSDB18."""
    names = list(database.setup["sources"])
    streams = {
        name: Stream(*stream_of(track.sources[name], is_wav))
        for name in names
        if name in track.sources
    }
    missing = tuple(f"{name}.wav" if is_wav else name for name in names if name not in streams)
    return Track(Path(track.path), streams, Stream(*stream_of(track, is_wav)), missing)


def _mixture(folder: Path) -> Stream | None:
    """Return the mixture that somebody has put beside the stems."""
    files = files_of(folder, "mixture.*")
    return Stream(files[0]) if files else None


_FINDERS: dict[str, Callable[[argparse.Namespace, str], list[Track]]] = {
    "aligned": _aligned,
    "sourcefolder": _source_folder,
    "trackfolder_fix": _fixed_sources,
    "trackfolder_var": _variable_sources,
    "musdb": _musdb,
    "stems": _stems,
}
