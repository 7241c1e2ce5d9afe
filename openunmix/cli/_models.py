"""The command ``umx-models``: list, download, verify, convert and export models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from openunmix.cli._models_licences import SCOPES, as_json, as_text, caution, select, table
from openunmix.cli._options import EXIT_CODES, run_command, say
from openunmix.errors import CheckpointError, DownloadError
from openunmix.predict.export import PRECISIONS, export_onnx
from openunmix.pretrained import load_separator, resolve_model
from openunmix.pretrained.download import cache_folder, fetch_model, is_intact, local_files
from openunmix.pretrained.folder import MatrixType, load_network, load_networks, save_folder
from openunmix.pretrained.registry import MODELS, ModelEntry, bundled_folder, find_model

Action = Callable[[argparse.Namespace], int | None]  # returns an exit code; None for 0

_DTYPES: dict[str, MatrixType] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int4": "int4",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-models",
        description="List, download, verify, convert and export the models of Open-Unmix.",
        epilog=EXIT_CODES.format(what="a model"),
    )
    parser.set_defaults(action=_list)
    actions = parser.add_subparsers(metavar="ACTION")

    def add(name: str, action: Action, text: str) -> argparse.ArgumentParser:
        command = actions.add_parser(name, help=text)
        command.set_defaults(action=action)
        return command

    add("list", _list, "print a table of the known models (the default)")
    download = add("download", _download, "download models into the cache")
    download.add_argument("names", nargs="+", metavar="NAME", help="a known model, such as umxhq")
    download.add_argument(
        "--mirror",
        metavar="PLACE,...",
        help="where to look, in this order: folders, URLs, and zenodo for the server of the "
        "publishers (default: OPENUNMIX_MIRROR, or zenodo)",
    )
    verify = add("verify", _verify, "check the hashes of models and load them")
    verify.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a known model or a model folder; all models on this machine if not given",
    )
    convert = add("convert", _convert, "write a model as a folder of safetensors")
    convert.add_argument("source", help="a known model, a model folder, or a file of weights")
    convert.add_argument("destination", type=Path, help="the folder to write")
    convert.add_argument(
        "--dtype", choices=_DTYPES, help="type of the matrices in the files (default: unchanged)"
    )
    _add_export_arguments(
        add("export", _export, "write a model as one file of ONNX, to use without torch")
    )
    add("path", _path, "print the folder of downloads")
    _add_licence_arguments(
        add("licences", _licences, "print terms of use, training data, citations")
    )
    return parser


def _add_export_arguments(export: argparse.ArgumentParser) -> None:
    export.add_argument("source", help="a known model, a model folder, or a file of weights")
    export.add_argument("destination", type=Path, metavar="FILE.onnx", help="the file to write")
    export.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the matrices in the file (default: %(default)s)",
    )
    export.add_argument("--targets", nargs="+", metavar="TARGET", help="some targets of the model")


def _add_licence_arguments(licences: argparse.ArgumentParser) -> None:
    licences.add_argument(
        "--commercial",
        nargs="?",
        choices=SCOPES,
        const=SCOPES[0],
        help="only models whose weights have a licence that allows commercial use, as far as is "
        "known; data: only if the terms of their training data do, too",
    )
    licences.add_argument("--json", action="store_true", help="print all of it as JSON")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(parser(), run, argv, "models that were complete are kept")


def run(args: argparse.Namespace) -> int:
    """Run the action of parsed arguments; return the exit code."""
    action: Action = args.action
    return action(args) or 0


def _list(_: argparse.Namespace) -> None:
    """Print a table of the known models."""
    rows = [("model", "targets", "sample rate", "size", "licence", "state")]
    for entry in MODELS.values():
        targets, rate = " ".join(entry.targets), f"{entry.config.stft.sample_rate:.0f} Hz"
        rows.append((entry.name, targets, rate, _size(entry), entry.licence, _state(entry)))
    print(table(rows))


def _size(entry: ModelEntry) -> str:
    """Return the size of a model in megabytes, measured if its files exist."""
    files = local_files(entry)
    exist = all(file.is_file() for file in files)
    if entry.bundled:  # with the file of shared layers
        files = list(bundled_folder(entry).glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files) if exist else entry.size
    return "?" if size is None else f"{size / 1e6:.0f} MB"


def _state(entry: ModelEntry) -> str:
    """Return where the weights of a model are."""
    count, total = sum(file.is_file() for file in local_files(entry)), len(entry.files)
    if entry.bundled:
        return "bundled" if count == total else "missing from this copy"
    if count == total:
        return "cached"
    return f"{count} of {total} cached" if count else "not downloaded"


def _download(args: argparse.Namespace) -> int:
    """Download models; a failure does not stop the others."""
    names = [find_model(name).name for name in args.names]
    return _each(partial(_download_one, mirror=args.mirror), names)


def _download_one(name: str, mirror: str | None) -> None:
    """Download one model."""
    entry = MODELS[name]
    if entry.bundled:
        resolve_model(name)
    else:
        fetch_model(entry, mirror=mirror)
    where = "comes with the package" if entry.bundled else f"is in {cache_folder()}"
    print(f"{name} {where}", file=sys.stderr)


def _each(action: Callable[[str], None], names: Sequence[str]) -> int:
    """Apply an action to models; print errors as they occur; return the exit code."""
    code = 0
    for name in names:
        try:
            action(name)
        except (CheckpointError, DownloadError) as error:
            say("umx-models", str(error))
            code = 1
    return code


def _verify(args: argparse.Namespace) -> int:
    """Verify models; a failure does not stop the others."""
    names = args.names or [
        entry.name
        for entry in MODELS.values()
        if any(file.is_file() for file in local_files(entry))
    ]
    if not names:
        print("there are no models on this machine yet", file=sys.stderr)
    return _each(_verify_one, names)


def _verify_one(name: str) -> None:
    """Check the hashes of one model and load it, without any download."""
    entry = MODELS.get(name)
    if entry is not None and not entry.bundled:
        _verify_cached(entry)
    else:
        model = resolve_model(name)
        load_networks(model.files, model.config)
    print(f"{name}: good")


def _verify_cached(entry: ModelEntry) -> None:
    """Check the cached files of a model."""
    for file, path in zip(entry.files.values(), local_files(entry), strict=True):
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


def _convert(args: argparse.Namespace) -> None:
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


def _export(args: argparse.Namespace) -> None:
    """Write a model as a file of ONNX."""
    model = resolve_model(args.source, args.targets)
    about = {"model": model.name, "licence": model.licence, "sha256": dict(model.sha256)}
    export_onnx(load_separator(model), args.destination, args.precision, about)
    print(f"{model.name} written to {args.destination}", file=sys.stderr)


def _path(_: argparse.Namespace) -> None:
    """Print the cache folder."""
    print(cache_folder())


def _licences(args: argparse.Namespace) -> None:
    """Print terms of use, training data and citation of models."""
    entries = select(list(MODELS.values()), args.commercial)
    if args.json:
        print(as_json(entries))
    elif entries:
        print(as_text(entries))
    note = caution(entries, args.commercial) if args.commercial else ""
    if not entries:
        note = "no known model"
    if note:
        say("umx-models", note)
