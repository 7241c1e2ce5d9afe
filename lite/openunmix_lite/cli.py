"""The command ``umx-lite``: separate audio files."""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from openunmix_lite.errors import LiteError
from openunmix_lite.files import FORMATS, FileOptions, separate_file
from openunmix_lite.model import BUNDLED, Model
from openunmix_lite.wiener import FilterOptions

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
    add(
        "--model", type=Path, default=BUNDLED, metavar="FILE.onnx", help="made by umx-models export"
    )
    add("--targets", nargs="+", metavar="TARGET", help="write only these targets")
    add("--outdir", type=Path, help="parent of a folder per song (default: <song>_<model> here)")
    add("--ext", default=".wav", help=f"format: {', '.join(FORMATS)} (default: .wav)")
    add("--bit-depth", choices=("16", "24", "32"), help="for .wav (32, float) and .flac (24)")
    add("--rate", choices=("input", "model"), default="input", help="sample rate of the outputs")
    add("--start", type=float, default=0.0, help="start of the excerpt in seconds")
    add("--duration", type=float, help="its duration in seconds")
    add("--residual", nargs="?", const="residual", metavar="NAME", help="also write the residual")
    add(
        "--aggregate", type=json.loads, metavar="JSON", help='sums: \'{"name": ["drums", "bass"]}\''
    )
    add("--niter", type=int, default=1, help="iterations of the Wiener filter (default: 1)")
    add(
        "--wiener-win-len",
        type=int,
        default=300,
        metavar="FRAMES",
        help="its window (default: 300)",
    )
    add("--softmask", action="store_true", help="initialise the filter with ratio masks")
    add("--threads", type=int, help="threads (default: all cores)")
    add("--quiet", action="store_true", help="no progress, only errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    command = parser()
    args = command.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(args)
    except LiteError as error:
        say(str(error))
        return 1
    except (ValueError, OverflowError) as error:
        command.error(str(error))
    except KeyboardInterrupt:
        say("interrupted; files that were complete are kept")
        return 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(args: argparse.Namespace) -> int:
    """Separate all inputs; failures are reported and the rest is still separated."""
    options = file_options(args)
    model = Model(args.model, args.threads)
    options.sums(model)  # raises for what is impossible
    inputs = find_inputs(args.input)
    failed = False
    for path, folder in zip(inputs, output_folders(inputs, args.outdir, model.name), strict=True):
        try:
            separate_one(path, folder, model, options, args.quiet)
        except LiteError as error:
            failed = True
            say(str(error))
    return int(failed)


def file_options(args: argparse.Namespace) -> FileOptions:
    """Return the options of outputs; ValueError for those that contradict each other."""
    if args.start < 0 or (args.duration is not None and not args.duration > 0):
        raise ValueError("--start cannot be negative, and --duration must be positive")
    if args.threads is not None and args.threads < 1:
        raise ValueError("--threads must be positive")
    if args.aggregate is not None and not _is_aggregation(args.aggregate):
        raise ValueError('--aggregate must be of the form {"name": ["target", ...]}')
    return FileOptions(
        extension=f".{args.ext.lower().lstrip('.')}",
        depth=args.bit_depth,
        model_rate=args.rate == "model",
        residual=args.residual,
        aggregate=args.aggregate,
        targets=args.targets,
        start=args.start,
        duration=args.duration,
        filter=FilterOptions(
            args.niter, args.wiener_win_len, args.softmask, residual=args.residual is not None
        ),
    )


def _is_aggregation(value: object) -> bool:
    """Whether a value has lists of texts by name."""
    return isinstance(value, dict) and all(
        isinstance(parts, list) and all(isinstance(part, str) for part in parts)
        for parts in value.values()
    )


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


def separate_one(path: Path, folder: Path, model: Model, options: FileOptions, quiet: bool) -> None:
    """Separate one file, with a progress bar on a terminal."""
    from tqdm import tqdm

    begun = time.perf_counter()
    hidden = True if quiet else None  # None: only on a terminal
    with tqdm(desc=printable(path.name), unit="s", leave=False, disable=hidden) as bar:
        result = separate_file(
            *(path, folder, model, options), lambda seconds: bar.update(int(seconds) - bar.n)
        )
    if not quiet:
        line = f"{path.name}: {result.duration:.0f} s in {time.perf_counter() - begun:.1f} s, in "
        scaled = f"; all stems scaled by {result.gain:.3f} to avoid clipping"
        say(f"{line}{folder}{scaled if result.gain != 1 else ''}")


def say(line: str) -> None:
    """Print a line on stderr, control characters escaped."""
    print(f"umx-lite: {printable(line)}", file=sys.stderr)


def printable(line: str) -> str:
    """Escape control characters, which file names may contain."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def return_freed_memory() -> None:
    """Make glibc return large arrays to the system when they are freed.

    By default it keeps gaps between them, of 100 MB.
    """
    if platform.libc_ver()[0] == "glibc":
        mmap_threshold = -3  # M_MMAP_THRESHOLD of malloc.h
        ctypes.CDLL(None).mallopt(mmap_threshold, 8 << 20)


def entry() -> None:
    """Run the command and end the process."""
    return_freed_memory()
    sys.exit(main())
