"""Options of the command ``umx``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from openunmix._version import __version__
from openunmix.audio import OUTPUT_FORMATS, STEM_MP4
from openunmix.cli._options import EXIT_CODES, Group, add_shared
from openunmix.model import Separator
from openunmix.predict.files import FileOptions
from openunmix.predict.memory import estimate_memory
from openunmix.predict.stream import StreamConfig
from openunmix.pretrained.registry import BUNDLED_MODEL, DEFAULT_MODEL

# Frames; shorter chunks would save little memory and take much more time.
_SMALLEST_CHUNK = 300

_DEPTHS = {"16": "16", "24": "24", "32": "32f"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx",
        description="Separate songs into vocals, drums, bass and other instruments.",
        epilog=EXIT_CODES.format(what="a file"),
    )
    parser.add_argument("input", nargs="+", help="audio or video files, folders, or patterns")
    parser.add_argument("--version", action="version", version=f"Open-Unmix {__version__}")
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        help=f"name of a model, or path of a model folder (default: {DEFAULT_MODEL}, or the "
        f"bundled {BUNDLED_MODEL} if it cannot be downloaded)",
    )
    add_shared(group, "--targets")
    _add_output_options(parser.add_argument_group("output"))
    group = parser.add_argument_group("separation")
    add_shared(group, "--niter", "--wiener-win-len", "--filterbank")
    group.add_argument(
        "--softmask", action="store_true", help="initialise the filter with ratio masks"
    )
    _add_computing_options(parser.add_argument_group("computing"))
    return parser


def _add_output_options(group: Group) -> None:
    """Options of the outputs."""
    formats = ", ".join([*OUTPUT_FORMATS, STEM_MP4])
    group.add_argument(
        "--outdir",
        type=Path,
        help="parent of a folder per song (default: <song>_<model> in the working directory)",
    )
    group.add_argument("--ext", default=".wav", help=f"format: {formats} (default: .wav)")
    group.add_argument(
        "--bit-depth", choices=_DEPTHS, help="for .wav (default: 32, float) and .flac (default: 24)"
    )
    group.add_argument(
        "--rate",
        choices=["input", "model"],
        default="input",
        help="sample rate of the outputs: the input's (default) or the model's",
    )
    group.add_argument("--start", type=float, default=0.0, help="start of the excerpt in seconds")
    group.add_argument(
        "--duration", type=float, help="its duration in seconds (default, or negative: to the end)"
    )
    group.add_argument(
        "--residual",
        nargs="?",
        const="residual",
        metavar="NAME",
        help="also write the residual, under this name (default: residual)",
    )
    add_shared(group, "--aggregate")
    group.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip inputs that are separated already, with this model and these settings",
    )
    group.add_argument(
        "--player",
        action="store_true",
        help="also write index.html, a player of the stems for browsers",
    )


def _add_computing_options(group: Group) -> None:
    """Options of computation and messages."""
    group.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    add_shared(group, "--no-cuda")
    group.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        default="float32",
        help="of the networks; bf16 is faster on processors that support it",
    )
    group.add_argument(
        "--exact",
        action="store_true",
        help="run the networks on the whole song, as openunmix 1.3.0 did; needs more memory",
    )
    group.add_argument(
        "--max-memory", type=float, metavar="GB", help="choose chunks that fit into this memory"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="only report what would be done and the time needed"
    )
    add_shared(group, "--quiet")
    group.add_argument("--verbose", action="store_true", help="more messages")
    group.add_argument(
        "--json",
        action="store_true",
        help="print a manifest of inputs, outputs, settings on stdout",
    )
    group.add_argument("--audio-backend", help=argparse.SUPPRESS)


def file_options(args: argparse.Namespace) -> FileOptions:
    """Return the output options; raise ValueError for contradicting arguments."""
    extension = args.ext.lower() if args.ext.startswith(".") else f".{args.ext.lower()}"
    if extension != STEM_MP4 and extension not in OUTPUT_FORMATS:
        raise ValueError(f"--ext {args.ext}: choose from {', '.join([*OUTPUT_FORMATS, STEM_MP4])}")
    depth = _DEPTHS[args.bit_depth] if args.bit_depth else None
    depths = OUTPUT_FORMATS[extension].depths if extension in OUTPUT_FORMATS else ()
    if depth and depth not in depths:
        raise ValueError(f"--bit-depth {args.bit_depth} cannot be written to {extension}")
    if args.player and extension == STEM_MP4:
        raise ValueError(f"--player needs a file per stem: choose an --ext other than {STEM_MP4}")
    if args.niter < 0 or args.wiener_win_len < 0 or args.start < 0 or args.duration == 0:
        raise ValueError(
            "--niter, --wiener-win-len and --start cannot be negative, --duration not 0"
        )
    return FileOptions(
        extension, depth, args.rate == "model", args.residual, args.aggregate, args.player
    )


#: Options that change what is in the outputs; `file_options` has the others that do.
SOUND_OPTIONS = (
    *("targets", "residual", "aggregate", "niter", "wiener_win_len", "softmask", "filterbank"),
    *("precision", "exact", "rate", "start", "duration"),
)


def sound_settings(args: argparse.Namespace, options: FileOptions) -> dict[str, Any]:
    """Return everything but input and weights that changes the outputs."""
    settings = {name: getattr(args, name) for name in SOUND_OPTIONS}
    if args.duration is not None and args.duration < 0:
        settings["duration"] = None
    depths = OUTPUT_FORMATS[options.extension].depths if options.extension != STEM_MP4 else ()
    default = OUTPUT_FORMATS[options.extension].default_depth if depths else None
    return settings | {"extension": options.extension, "depth": options.depth or default}


def stream_config(args: argparse.Namespace, separator: Separator) -> StreamConfig:
    """Return the stream settings; raise ValueError if --max-memory is too little for any."""
    config = StreamConfig(precision=args.precision, exact=args.exact)
    if args.max_memory is None:
        return config
    while not (needed := estimate_memory(separator, config) / 1e9) <= args.max_memory:
        if config.chunk <= _SMALLEST_CHUNK:
            raise ValueError(
                f"--max-memory {args.max_memory:g}: at least {needed + 0.05:.1f} GB are needed"
            )
        config = replace(config, chunk=max(config.chunk // 2, _SMALLEST_CHUNK))
    return config
