"""Which files a dataset is made of: found by names alone, none of them opened.

The datasets leave out what they cannot use; this lists it too, for :mod:`openunmix.data.check`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openunmix.audio import AudioSource
from openunmix.data.musdb import open_database, stream_of
from openunmix.data.tracks import Track, files_of, find_tracks, track_folders
from openunmix.errors import AudioFileError

__all__ = ["inventory"]


def inventory(args: argparse.Namespace, split: str) -> list[Track]:
    """List the tracks of a split.

    Parameters
    ----------
    args : argparse.Namespace
        The options of a dataset, as for :func:`openunmix.data.make_datasets`.
    split : str
        ``"train"`` or ``"valid"``.

    Returns
    -------
    list of Track
        Sorted by path. Of a dataset of source folders, each file is a track of its own; the
        dataset ``"synthetic"`` has none.

    Raises
    ------
    AudioFileError
        If the folder of the split, or one that it needs, is missing or empty.
    ValueError
        If the dataset is unknown or has no root.
    """
    if args.dataset == "synthetic":
        return []
    if args.dataset not in _FINDERS:
        raise ValueError(f"unknown dataset {args.dataset!r}; choose from {[*_FINDERS]}")
    if args.root is None and args.dataset != "musdb":
        raise ValueError(f"--root is missing: the folder of the dataset {args.dataset!r}")
    tracks = _FINDERS[args.dataset](args, split)
    if not tracks:
        raise AudioFileError(f"{Path(args.root or 'MUSDB18', split)}: there are no tracks in it")
    return tracks


def _aligned(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders with a file that the network is given, and one that it is to estimate."""
    tracks = []
    for folder in track_folders(Path(args.root).expanduser(), split):
        found = {name: files_of(folder, name) for name in (args.input_file, args.output_file)}
        given, target = found[args.input_file], found[args.output_file]
        mixture = AudioSource(given[0]) if given else None
        sources = {Path(args.output_file).stem: AudioSource(target[0])} if target else {}
        missing = tuple(name for name, files in found.items() if not files)
        tracks.append(
            Track(
                folder.name,
                split,
                sources,
                AudioSource(mixture[0]) if mixture else None,
                folder,
                missing,
            )
        )
    return tracks


def _source_folder(args: argparse.Namespace, split: str) -> list[Track]:
    """List the files in the folder of each source."""
    tracks = []
    for name in [args.target_dir, *args.interferer_dirs]:
        folder = Path(args.root, split, name).expanduser()
        files = files_of(folder, f"*{args.ext}")
        if not files:
            raise AudioFileError(f"{folder}: there are no files *{args.ext} for the source {name}")
        tracks += [Track(path.stem, split, {name: AudioSource(path)}, path=path) for path in files]
    return tracks


def _fixed_sources(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders that all have the same stems."""
    tracks = []
    names = [args.target_file, *args.interferer_files]
    for folder in track_folders(Path(args.root).expanduser(), split):
        there = [name for name in names if (folder / name).is_file()]
        sources = {Path(name).stem: AudioSource(folder / name) for name in there}
        missing = tuple(name for name in names if name not in there)
        tracks.append(Track(folder.name, split, sources, _mixture(folder), folder, missing))
    return tracks


def _variable_sources(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders with any stems beside the target."""
    tracks = []
    for folder in track_folders(Path(args.root).expanduser(), split):
        files = {folder / args.target_file, *files_of(folder, f"*{args.ext}")}
        there = sorted(path for path in files if path.is_file())
        sources = {path.stem: AudioSource(path) for path in there if path.stem != "mixture"}
        lacks = Path(args.target_file).stem not in sources
        missing = (args.target_file,) if lacks and not args.silence_missing else ()
        tracks.append(Track(folder.name, split, sources, _mixture(folder), folder, missing))
    return tracks


def _stems(args: argparse.Namespace, split: str) -> list[Track]:
    """Folders with stems, in any format."""
    return find_tracks(Path(args.root, split).expanduser(), subset="", is_wav=True)


def _musdb(args: argparse.Namespace, split: str) -> list[Track]:
    """Tracks that the package musdb finds."""
    root = None if args.root is None else Path(args.root).expanduser()
    options = {"is_wav": args.is_wav, "split": split, "subsets": "train"}
    database = open_database(root, download=args.root is None, **options)
    return [_musdb_track(track, split, database, args.is_wav) for track in database.tracks]


def _musdb_track(track: Any, split: str, database: Any, is_wav: bool) -> Track:
    """Stems of a track of MUSDB18."""
    names = list(database.setup["sources"])
    streams = {
        name: AudioSource(*stream_of(track.sources[name], is_wav))
        for name in names
        if name in track.sources
    }
    missing = tuple(f"{name}.wav" if is_wav else name for name in names if name not in streams)
    mixture = AudioSource(*stream_of(track, is_wav))
    return Track(track.name, split, streams, mixture, Path(track.path), missing)


def _mixture(folder: Path) -> AudioSource | None:
    """Return the mixture that somebody has put beside the stems."""
    files = files_of(folder, "mixture.*")
    return AudioSource(files[0]) if files else None


_FINDERS: dict[str, Callable[[argparse.Namespace, str], list[Track]]] = {
    "aligned": _aligned,
    "sourcefolder": _source_folder,
    "trackfolder_fix": _fixed_sources,
    "trackfolder_var": _variable_sources,
    "musdb": _musdb,
    "stems": _stems,
}
