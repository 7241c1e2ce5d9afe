"""The command ``umx``: separate audio files."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from openunmix._version import __version__
from openunmix.audio import OUTPUT_FORMATS, STEM_MP4, AudioSource
from openunmix.cli._options import (
    EXIT_CODES,
    Group,
    add_aggregate,
    add_filter_options,
    add_no_cuda,
    add_quiet,
    add_targets,
    choose_device,
    run_command,
    say,
)
from openunmix.cli._paths import find_inputs, output_folders
from openunmix.cli._player import write_player
from openunmix.cli._progress import Progress
from openunmix.errors import CheckpointError, OpenUnmixError
from openunmix.model import Separator
from openunmix.predict.files import FileOptions, FileResult, output_paths, separate_file
from openunmix.predict.stream import StreamConfig, estimate_memory, separate_waveform
from openunmix.pretrained import ResolvedModel, build_separator, resolve_model
from openunmix.pretrained.folder import find_weights
from openunmix.pretrained.registry import BUNDLED_MODEL, DEFAULT_MODEL, MODELS

__all__ = ["main", "parser", "run"]

logger = logging.getLogger(__name__)

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
    _add_model_options(parser.add_argument_group("model"))
    _add_output_options(parser.add_argument_group("output"))
    _add_filter_options(parser.add_argument_group("separation"))
    _add_computing_options(parser.add_argument_group("computing"))
    return parser


def _add_model_options(group: Group) -> None:
    """Which networks to use."""
    group.add_argument(
        "--model",
        help=f"name of a model, or path of a model folder (default: {DEFAULT_MODEL}; if it cannot "
        f"be downloaded, {BUNDLED_MODEL}, which is part of this package)",
    )
    add_targets(group)


def _add_output_options(group: Group) -> None:
    """Where to write what."""
    formats = ", ".join([*OUTPUT_FORMATS, STEM_MP4])
    group.add_argument(
        "--outdir",
        type=Path,
        help="folder for a folder per song (default: <song>_<model> in the working directory)",
    )
    group.add_argument("--ext", default=".wav", help=f"format: {formats} (default: .wav)")
    group.add_argument(
        "--bit-depth", choices=_DEPTHS, help="of .wav (default: 32, float) and .flac (default: 24)"
    )
    group.add_argument(
        "--rate",
        choices=["input", "model"],
        default="input",
        help="sample rate of the outputs: the input's (default) or the model's",
    )
    group.add_argument("--start", type=float, default=0.0, help="seconds to skip at the start")
    group.add_argument(
        "--duration", type=float, help="seconds to separate (default, or negative: to the end)"
    )
    group.add_argument(
        "--residual",
        nargs="?",
        const="residual",
        metavar="NAME",
        help="write also what the targets leave of the input, under this name (default: residual)",
    )
    add_aggregate(group, "write")
    group.add_argument(
        "--skip-existing", action="store_true", help="skip inputs whose outputs are all there"
    )
    group.add_argument(
        "--player",
        action="store_true",
        help="write also index.html, a page to listen to the stems with in a browser",
    )


def _add_filter_options(group: Group) -> None:
    """How to go from magnitudes to waveforms."""
    add_filter_options(group)
    group.add_argument("--softmask", action="store_true", help="start the filter from ratio masks")


def _add_computing_options(group: Group) -> None:
    """Where and how to compute, and what to say about it."""
    group.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    add_no_cuda(group)
    group.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        default="float32",
        help="of the networks; bf16 is faster on processors that have it",
    )
    group.add_argument(
        "--exact",
        action="store_true",
        help="let the networks see the whole song at once, as openunmix 1.3.0 did; takes memory",
    )
    group.add_argument(
        "--max-memory", type=float, metavar="GB", help="choose blocks that stay below this"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="only say what would be done, and how long it takes"
    )
    add_quiet(group)
    group.add_argument("--verbose", action="store_true", help="more messages")
    group.add_argument(
        "--json", action="store_true", help="print a manifest of all that was done on stdout"
    )
    group.add_argument("--audio-backend", help=argparse.SUPPRESS)


@dataclass
class _Job:
    """One input and its record for the manifest; the duration is 0 while it is unknown."""

    source: AudioSource
    folder: Path
    outputs: dict[str, Path]
    duration: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(parser(), run, argv, "files that were complete are kept")


def run(args: argparse.Namespace) -> int:
    """Separate all inputs; return the exit code."""
    if args.audio_backend:
        logger.warning("--audio-backend %s is deprecated and has no effect", args.audio_backend)
    options = _file_options(args)
    device = choose_device(args.device, args.no_cuda)
    model = _resolve(args)
    names = list(options.names(model.targets))
    separator = build_separator(
        model,
        niter=args.niter,
        residual=args.residual is not None,
        wiener_win_len=args.wiener_win_len or None,
        device=device,
        filterbank=args.filterbank,
    )
    separator.softmask = args.softmask
    config = _stream_config(args, separator)
    inputs = find_inputs(args.input, args.outdir, [*MODELS, model.name])
    folders = output_folders(inputs, args.outdir, model.name)
    jobs = [
        _Job(
            AudioSource(path, start=args.start, duration=args.duration),
            folder,
            output_paths(folder, names, options.extension),
        )
        for path, folder in zip(inputs, folders, strict=True)
    ]
    waiting = _waiting(jobs, args.skip_existing, args.player)
    if args.dry_run:
        _describe(waiting, separator, config, args.quiet)
    else:
        write = partial(write_player, model=model, args=args) if args.player else None
        _separate_all(waiting, separator, config, options, args.quiet, write)
    if args.json:
        json.dump(_manifest(jobs, model, args), sys.stdout, indent=2)
        sys.stdout.write("\n")
    return 1 if any(job.record.get("status") == "failed" for job in jobs) else 0


def _file_options(args: argparse.Namespace) -> FileOptions:
    """Return what to write; raise ValueError where the arguments contradict each other."""
    extension = args.ext.lower() if args.ext.startswith(".") else f".{args.ext.lower()}"
    if extension != STEM_MP4 and extension not in OUTPUT_FORMATS:
        raise ValueError(f"--ext {args.ext}: choose from {', '.join([*OUTPUT_FORMATS, STEM_MP4])}")
    depth = _DEPTHS[args.bit_depth] if args.bit_depth else None
    depths = OUTPUT_FORMATS[extension].depths if extension in OUTPUT_FORMATS else ()
    if depth and depth not in depths:
        raise ValueError(f"--bit-depth {args.bit_depth} cannot be written to {extension}")
    if args.player and extension == STEM_MP4:
        raise ValueError(f"--player needs a file for each stem: choose an --ext but {STEM_MP4}")
    if args.niter < 0 or args.wiener_win_len < 0 or args.start < 0 or args.duration == 0:
        raise ValueError(
            "--niter, --wiener-win-len and --start cannot be negative, --duration not 0"
        )
    return FileOptions(
        extension=extension,
        depth=depth,
        model_rate=args.rate == "model",
        residual=args.residual,
        aggregate=args.aggregate,
    )


def _resolve(args: argparse.Namespace) -> ResolvedModel:
    """Find the model; without --model fall back to the bundled one if there is no network."""
    if args.model is not None:
        _check_folder(args.model, args.targets)
    model = resolve_model(args.model, args.targets, progress=not args.quiet)
    if model.note:
        say("umx", model.note)
    return model


def _check_folder(model: str, targets: Sequence[str] | None) -> None:
    """Raise ValueError if a model folder lacks a target, as it is raised for a known model."""
    path = Path(model).expanduser()
    if targets and model not in MODELS and path.exists():
        try:
            find_weights(path, targets)
        except CheckpointError as error:
            raise ValueError(f"--targets {' '.join(targets)}: {error}") from error


def _stream_config(args: argparse.Namespace, separator: Separator) -> StreamConfig:
    """Return how to compute; raise ValueError if it cannot be done in the memory allowed."""
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


def _waiting(jobs: Sequence[_Job], skip_existing: bool, player: bool) -> list[_Job]:
    """Return the jobs that are to be done; note which ones are not."""
    waiting = []
    for job in jobs:
        job.record["input"] = str(job.source.path)
        expected = [*job.outputs.values(), *([job.folder / "index.html"] if player else [])]
        if skip_existing and all(path.exists() for path in expected):
            job.record.update(status="skipped", outputs=_strings(job.outputs))
        else:
            waiting.append(job)
    return waiting


def _separate_all(
    jobs: Sequence[_Job],
    separator: Separator,
    config: StreamConfig,
    options: FileOptions,
    quiet: bool,
    write_page: Callable[[AudioSource, FileResult], Path] | None = None,
) -> None:
    """Separate every input; a bad one gets a line on stderr and the others go on."""
    for job in jobs:
        with suppress(OpenUnmixError):  # comes again when it is the job's turn
            job.duration = _duration(job.source)
    with Progress([job.duration for job in jobs], quiet) as progress:
        for job in jobs:
            begun = time.perf_counter()
            progress.start(job.source.path.name, job.duration)
            try:
                result = separate_file(
                    job.source, job.folder, separator, options, config, progress.update
                )
                if write_page:
                    job.record["player"] = str(write_page(job.source, result))
            except OpenUnmixError as error:
                job.record.update(status="failed", error=str(error))
                progress.say(str(error))
            else:
                _record(job, result, time.perf_counter() - begun)
                if not quiet:
                    progress.say(_report(job, result))
            progress.finish()


def _record(job: _Job, result: FileResult, seconds: float) -> None:
    """Note for the manifest what was done."""
    job.record.update(
        status="done",
        outputs=_strings(result.outputs),
        sample_rate=result.sample_rate,
        channels=result.channels,
        duration=round(result.duration, 3),
        seconds=round(seconds, 3),
        real_time_factor=round(seconds / result.duration, 4),
        peak=result.peak,
        gain=result.gain,
    )


def _report(job: _Job, result: FileResult) -> str:
    """Say where the outputs are."""
    line = f"{job.source.path.name}: {result.duration:.0f} s in {job.record['seconds']:.1f} s, "
    line += f"in {job.record.get('player', job.folder)}"
    if result.gain != 1.0:
        line += f"; all turned down by {result.gain:.3f} so that the loudest does not clip"
    return line


def _duration(source: AudioSource) -> float:
    """Seconds to separate; 0 if unknown before decoding."""
    with source.open() as reader:
        return (reader.length or 0) / reader.info.sample_rate


def _describe(
    jobs: Sequence[_Job],
    separator: Separator,
    config: StreamConfig,
    quiet: bool,
) -> None:
    """Say what would be done, with the speed measured on ten seconds of noise."""
    rate = round(float(separator.sample_rate))
    noise = 0.1 * torch.randn(separator.nb_channels, 10 * rate)
    begun = time.perf_counter()
    separate_waveform(separator, noise, config)
    factor = (time.perf_counter() - begun) / 10
    memory = estimate_memory(separator, config) / 1e9
    for job in jobs:
        try:
            duration = _duration(job.source)
        except OpenUnmixError as error:
            job.record.update(status="failed", error=str(error))
            say("umx", str(error))
            continue
        job.record.update(
            status="planned",
            outputs=_strings(job.outputs),
            duration=round(duration, 3),
            expected_seconds=round(duration * factor, 1),
            expected_memory_gb=round(memory, 2),
        )
        if not quiet:
            places = ", ".join(dict.fromkeys(_strings(job.outputs).values()))
            say(
                "umx",
                f"{job.source.path}: {duration:.0f} s of audio, "
                f"about {duration * factor:.0f} s and {memory:.1f} GB, to {places}",
            )


def _manifest(
    jobs: Sequence[_Job], model: ResolvedModel, args: argparse.Namespace
) -> dict[str, Any]:
    """Return a record of the whole run."""
    settings = {
        name: str(value) if isinstance(value, os.PathLike) else value
        for name, value in vars(args).items()
        if name not in ("input", "json", "quiet", "verbose", "audio_backend")
    }
    return {
        "version": __version__,
        "model": {
            "name": model.name,
            "sha256": dict(model.sha256),
            "licence": model.licence,
            "bundled": model.bundled,
        },
        "settings": settings | {"model": model.name, "targets": model.targets},
        "files": [job.record for job in jobs],
    }


def _strings(outputs: dict[str, Path]) -> dict[str, str]:
    """Return paths as strings."""
    return {name: str(path) for name, path in outputs.items()}
