"""The command ``umx-lite``: separate audio files."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from openunmix_lite.errors import LiteError
from openunmix_lite.files import FORMATS, FileOptions, separate_file
from openunmix_lite.model import BUNDLED, Model

_AUDIO = ("wav", "flac", "aif", "aiff", "ogg", "oga", "opus", "mp3", "m4a", "aac", "mp4", "webm")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-lite",
        description="Separate songs into vocals, drums, bass and other instruments, without torch.",
        epilog="Exit code: 0 on success, 1 if a file failed, 2 for a usage error.",
    )
    add = parser.add_argument
    add("input", nargs="+", type=Path, help="audio files, or folders of them")
    add("--version", action="version", version=f"openunmix-lite {version('openunmix-lite')}")
    add("--model", default=BUNDLED, metavar="FILE.onnx", help="made by umx-models export")
    add("--targets", nargs="+", metavar="TARGET", help="use only these targets")
    add("--outdir", type=Path, help="parent of a folder per song (default: <song>_<model> here)")
    add("--ext", default=".wav", help=f"{', '.join(FORMATS)} (default: .wav)")
    add("--bit-depth", choices=("16", "24", "32"), help="for .wav (32, float) and .flac (24)")
    add("--rate", choices=("input", "model"), default="input", help="sample rate of the outputs")
    add("--start", type=float, default=0.0, help="start of the excerpt in seconds")
    add("--duration", type=float, help="its duration in seconds")
    add("--residual", nargs="?", const="residual", metavar="NAME", help="also write the residual")
    sums = '{"name": ["drums", "bass"]}'
    add("--aggregate", type=json.loads, metavar="JSON", help=f"sums to write instead: '{sums}'")
    add("--niter", type=int, default=1, help="iterations of the Wiener filter (default: 1)")
    window = "its window (default: 300)"
    add("--wiener-win-len", type=int, default=300, dest="window", metavar="FRAMES", help=window)
    add("--softmask", action="store_true", help="initialise the filter with ratio masks")
    add("--threads", type=int, help="threads (default: all cores)")
    add("--quiet", action="store_true", help="no progress, only errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    command = parser()
    args = command.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        args.ext = f".{args.ext.lower().lstrip('.')}"
        options = FileOptions(
            **{field.name: vars(args)[field.name] for field in fields(FileOptions)}
        )
        model = Model(args.model, args.threads, args.targets)
        options.sums(model.targets)  # raises for what is impossible
        inputs = find_inputs(args.input)
        folders = output_folders(inputs, args.outdir, model.name)
        done = [
            separate_one(*pair, model, options, args.quiet)
            for pair in zip(inputs, folders, strict=True)
        ]
        return int(not all(done))
    except LiteError as error:
        say(str(error))
        return 1
    except (ValueError, OverflowError) as error:
        command.error(str(error))
    except KeyboardInterrupt:
        say("interrupted; files that were complete are kept")
        return 130


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """Return files, and the audio files in folders, in order."""
    found: list[Path] = []
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else ()
        files = sorted(file for file in inside if file.suffix.lower()[1:] in _AUDIO)
        found += files or [path]
    return list(dict.fromkeys(found))


def output_folders(inputs: Sequence[Path], outdir: Path | None, model: str) -> list[Path]:
    """Return a folder for each input: ``song``, then ``song-2`` for another of the same name."""
    folders: dict[str, Path] = {}
    for path in inputs:
        number, name = 1, path.stem
        while name.casefold() in folders:
            number += 1
            name = f"{path.stem}-{number}"
        folders[name.casefold()] = outdir / name if outdir else Path(f"{name}_{model}")
    return list(folders.values())


def separate_one(path: Path, folder: Path, model: Model, options: FileOptions, quiet: bool) -> bool:
    """Separate one file, with progress on a terminal; return whether it succeeded."""
    begun = time.perf_counter()
    hidden = True if quiet else None  # None: only on a terminal
    try:
        with tqdm(desc=printable(path.name), unit="s", leave=False, disable=hidden) as bar:
            result = separate_file(
                *(path, folder, model, options), lambda seconds: bar.update(int(seconds) - bar.n)
            )
    except LiteError as error:
        say(str(error))
        return False
    if not quiet:
        took = f"{result.duration:.0f} s in {time.perf_counter() - begun:.1f} s"
        scaled = f"; all stems scaled by {result.gain:.3f} to avoid clipping"
        say(f"{path.name}: {took}, in {folder}{scaled if result.gain != 1 else ''}")
    return True


def say(line: str) -> None:
    """Print a line on stderr, control characters escaped."""
    print(f"umx-lite: {printable(line)}", file=sys.stderr)


def printable(line: str) -> str:
    """Escape control characters, which file names may contain."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
