"""The tracks of a dataset, with those that it would skip."""

from __future__ import annotations

import argparse
from pathlib import Path

from openunmix.data.factory import DATASETS
from openunmix.data.finder import ACCEPTED
from openunmix.data.layouts import (
    aligned_tracks,
    fixed_tracks,
    musdb_tracks,
    source_tracks,
    variable_tracks,
)
from openunmix.data.musdb import open_database
from openunmix.data.stems import StemFolder, stem_tracks
from openunmix.data.tracks import Track, find_sources
from openunmix.errors import AudioFileError


def inventory(args: argparse.Namespace, split: str) -> list[Track]:
    """Tracks of a split from the options of a dataset; none for ``"synthetic"``.

    Each file of a dataset of source folders is a track of its own.
    """
    known = [*DATASETS, "stems"]
    if args.dataset not in known:
        raise ValueError(f"unknown dataset {args.dataset!r}; choose from {known}")
    if args.dataset == "synthetic":
        return []
    if args.root is None and args.dataset != "musdb":
        raise ValueError(f"--root is missing: the folder of the dataset {args.dataset!r}")
    tracks = _find(args, None if args.root is None else Path(args.root).expanduser(), split)
    if not tracks:
        raise AudioFileError(f"{Path(args.root or 'MUSDB18', split)}: there are no tracks in it")
    return tracks


def _find(args: argparse.Namespace, root: Path | None, split: str) -> list[Track]:
    """Find the tracks of a kind of dataset."""
    if root is None or args.dataset == "musdb":
        options = {"is_wav": args.is_wav, "split": split, "subsets": "train"}
        database = open_database(root, download=root is None, **options)
        return musdb_tracks(database, split, args.is_wav)
    if args.dataset == "stems":
        return _stems(args, root / split, split)
    if args.dataset == "aligned":
        return aligned_tracks(root, split, args.input_file, args.output_file)
    if args.dataset == "trackfolder_fix":
        return fixed_tracks(root, split, [args.target_file, *args.interferer_files])
    if args.dataset == "trackfolder_var":
        return variable_tracks(root, split, args.target_file, args.ext, args.silence_missing)
    tracks = []
    for name in [args.target_dir, *args.interferer_dirs]:
        found = source_tracks(root, split, name, args.ext)
        if not found:
            folder = root / split / name
            raise AudioFileError(
                f"{folder}: no {args.ext or 'audio'} files for the source {name}; {ACCEPTED}"
            )
        tracks += found
    return tracks


def _stems(args: argparse.Namespace, root: Path, split: str) -> list[Track]:
    """Find the tracks of stems; for training also those that the settings of mixing add."""
    names = find_sources(root, getattr(args, "targets", ()))
    folders = [StemFolder(str(root))]
    mixing = getattr(args, "mixing", None)
    if mixing is None or split != "train":
        return stem_tracks(folders[0], names)
    folders += [*mixing.also, *mixing.extra]
    if mixing.accompaniment:
        folders.append(mixing.accompaniment._replace(target="accompaniment"))
    return [track for of in folders for track in stem_tracks(of, names, mixing.exclude)]
