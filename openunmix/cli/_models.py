"""The command ``umx-models``: list, download, verify and convert models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from openunmix.cli._options import EXIT_CODES, run_command, say
from openunmix.errors import CheckpointError, DownloadError, OpenUnmixError
from openunmix.pretrained import resolve_model
from openunmix.pretrained.download import cache_folder, cached_path, fetch_model, is_intact
from openunmix.pretrained.folder import load_network, load_networks, save_folder
from openunmix.pretrained.registry import MODELS, ModelEntry, bundled_folder, find_model

__all__ = ["main", "parser", "run"]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-models",
        description="List, download, verify and convert the models of Open-Unmix.",
        epilog=EXIT_CODES.format(what="a model"),
    )
    parser.set_defaults(action=_list)
    actions = parser.add_subparsers(metavar="ACTION")

    actions.add_parser("list", help="print a table of the known models (the default)")

    download = actions.add_parser("download", help="download models into the cache")
    download.add_argument("names", nargs="+", metavar="NAME", help="a known model, such as umxhq")
    download.set_defaults(action=_download)

    verify = actions.add_parser("verify", help="check the hashes of models and load them")
    verify.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a known model or a model folder; all models on this machine if not given",
    )
    verify.set_defaults(action=_verify)

    convert = actions.add_parser("convert", help="write a model as a folder of safetensors")
    convert.add_argument("source", help="a known model, a model folder, or a file of weights")
    convert.add_argument("destination", type=Path, help="the folder to write")
    convert.add_argument(
        "--dtype", choices=_DTYPES, help="type of the matrices in the files (default: unchanged)"
    )
    convert.set_defaults(action=_convert)

    path = actions.add_parser("path", help="print the folder of downloads")
    path.set_defaults(action=_path)

    licences = actions.add_parser("licences", help="print terms of use, training data, citations")
    licences.set_defaults(action=_licences)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(parser(), run, argv, "models that were complete are kept")


def run(args: argparse.Namespace) -> int:
    """Run the action of parsed arguments; return the exit code."""
    action: Callable[[argparse.Namespace], int] = args.action
    return action(args)


def _list(_: argparse.Namespace) -> int:
    """Print a table of the known models."""
    rows = [("model", "targets", "sample rate", "size", "licence", "state")]
    for entry in MODELS.values():
        targets, rate = " ".join(entry.targets), f"{entry.config.stft.sample_rate:.0f} Hz"
        rows.append((entry.name, targets, rate, _size(entry), entry.licence, _state(entry)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _files(entry: ModelEntry) -> list[Path]:
    """Return the paths of a model's files, whether they exist or not."""
    if entry.bundled:
        return [bundled_folder(entry) / file.name for file in entry.files.values()]
    return [cached_path(file) for file in entry.files.values()]


def _size(entry: ModelEntry) -> str:
    """Return the size of a model in megabytes, measured if its files exist."""
    files = _files(entry)
    exist = all(file.is_file() for file in files)
    if entry.bundled:  # with the file of shared layers
        files = list(bundled_folder(entry).glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files) if exist else entry.size
    return "?" if size is None else f"{size / 1e6:.0f} MB"


def _state(entry: ModelEntry) -> str:
    """Return where the weights of a model are."""
    count, total = sum(file.is_file() for file in _files(entry)), len(entry.files)
    if entry.bundled:
        return "bundled" if count == total else "missing from this copy"
    if count == total:
        return "cached"
    return f"{count} of {total} cached" if count else "not downloaded"


def _download(args: argparse.Namespace) -> int:
    """Download models; a failure does not stop the others."""
    entries = [find_model(name) for name in args.names]
    return _each(_download_one(entry) for entry in entries)


def _download_one(entry: ModelEntry) -> OpenUnmixError | None:
    """Download one model; return the error."""
    try:
        if entry.bundled:
            resolve_model(entry.name)
        else:
            fetch_model(entry)
    except OpenUnmixError as error:
        return error
    where = "comes with the package" if entry.bundled else f"is in {cache_folder()}"
    print(f"{entry.name} {where}", file=sys.stderr)
    return None


def _each(outcomes: Iterator[OpenUnmixError | None]) -> int:
    """Print errors as they occur; return the exit code."""
    failed = False
    for error in outcomes:
        if error is not None:
            say("umx-models", str(error))
            failed = True
    return int(failed)


def _verify(args: argparse.Namespace) -> int:
    """Verify models; a failure does not stop the others."""
    names = args.names or [
        entry.name for entry in MODELS.values() if any(file.is_file() for file in _files(entry))
    ]
    if not names:
        print("there are no models on this machine yet", file=sys.stderr)
    return _each(_verify_one(name) for name in names)


def _verify_one(name: str) -> OpenUnmixError | None:
    """Check the hashes of one model and load it, without any download; return the error."""
    entry = MODELS.get(name)
    try:
        if entry is not None and not entry.bundled:
            _verify_cached(entry)
        else:
            model = resolve_model(name)
            load_networks(model.files, model.config)
    except (CheckpointError, DownloadError) as error:
        return error
    print(f"{name}: good")
    return None


def _verify_cached(entry: ModelEntry) -> None:
    """Check the cached files of a model."""
    for file in entry.files.values():
        path = cached_path(file)
        if not path.is_file():
            raise DownloadError(
                f"{entry.name}: {file.name} is not in {path.parent}; download it with "
                f"umx-models download {entry.name}"
            )
        if not is_intact(file, path):
            raise CheckpointError(
                f"{entry.name}: {path} is damaged, its SHA-256 is not the published one; download "
                f"it again with umx-models download {entry.name}"
            )
        load_network(path)


def _convert(args: argparse.Namespace) -> int:
    """Write a model as a folder of safetensors."""
    model = resolve_model(args.source)
    dtype = _DTYPES[args.dtype] if args.dtype else None
    networks = load_networks(model.files, model.config)
    origin = {"model": model.name, "licence": model.licence}
    metadata = {
        target: {"converted_from": {**origin, "sha256": sha256}}
        for target, sha256 in model.sha256.items()
    }
    save_folder(args.destination, networks, model.config, metadata, dtype)
    print(f"{model.name} written to {args.destination}", file=sys.stderr)
    return 0


def _path(_: argparse.Namespace) -> int:
    """Print the cache folder."""
    print(cache_folder())
    return 0


def _licences(_: argparse.Namespace) -> int:
    """Print terms of use, training data and citation of every model."""
    for entry in MODELS.values():
        print(f"{entry.name}: {entry.licence}")
        print(f"  trained on: {entry.trained_on}")
        print(f"  cite: {entry.citation}")
    return 0
