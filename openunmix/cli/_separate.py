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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from openunmix._version import __version__
from openunmix.audio import AudioSource
from openunmix.cli._options import choose_device, run_command, say
from openunmix.cli._paths import find_inputs, output_folders, track_name
from openunmix.cli._progress import Progress
from openunmix.cli._separate_options import file_options, parser, sound_settings, stream_config
from openunmix.errors import CheckpointError, OpenUnmixError
from openunmix.model import Separator
from openunmix.predict.files import FileOptions, FileResult, check_file, output_paths, separate_file
from openunmix.predict.marks import Mark, describe_input, is_done, write_mark
from openunmix.predict.memory import estimate_memory
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.pretrained import ResolvedModel, load_separator, resolve_model
from openunmix.pretrained.folder import find_weights
from openunmix.pretrained.registry import DEFAULT_MODEL, MODELS
from openunmix.web import write_page

__all__ = ["main", "parser", "run"]

logger = logging.getLogger(__name__)

# One bad input never ends the run for the others.
_FILE_ERRORS = (OpenUnmixError, OSError, ValueError)


@dataclass
class _Job:
    """One input and its record for the manifest; the duration is 0 while it is unknown."""

    source: AudioSource
    folder: Path
    outputs: dict[str, Path]
    settings: dict[str, Any]  # with the weights, all that changes the outputs
    duration: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    # A file whose name begins with a dash is no option.
    arguments = [
        os.path.join(os.curdir, name)
        if name.startswith("-") and Path(name).suffix and os.path.exists(name)
        else name
        for name in arguments
    ]
    return run_command(parser(), run, arguments, "files that were complete are kept")


def run(args: argparse.Namespace) -> int:
    """Separate all inputs; return the exit code."""
    if args.audio_backend:
        logger.warning("--audio-backend %s is deprecated and has no effect", args.audio_backend)
    options = file_options(args)
    known = MODELS.get(args.model or DEFAULT_MODEL)
    targets = list(dict.fromkeys(args.targets or (known.targets if known else ())))
    if known is not None and set(targets) <= set(known.targets):  # before it is downloaded
        options.names(targets)
    device = choose_device(args.device, args.no_cuda)
    model = _resolve(args)
    names = list(options.names(model.targets))
    separator = load_separator(
        model,
        niter=args.niter,
        residual=args.residual is not None,
        wiener_win_len=args.wiener_win_len or None,
        device=device,
        filterbank=args.filterbank,
    )
    separator.softmask = args.softmask
    config = stream_config(args, separator)
    settings = sound_settings(args, options) | {"weights": dict(model.sha256)}
    inputs = find_inputs(args.input, args.outdir, [*MODELS, model.name], names)
    folders = output_folders(inputs, args.outdir, model.name)
    jobs = [
        _Job(
            AudioSource(path, start=args.start, duration=args.duration),
            folder,
            output_paths(folder, names, options.extension),
            settings,
        )
        for path, folder in zip(inputs, folders, strict=True)
    ]
    waiting = _waiting(jobs, args.skip_existing, args.player)
    if args.dry_run:
        _describe(waiting, separator, config, options, args.quiet)
    else:
        write = partial(_write_player, model=model, args=args) if args.player else None
        _separate_all(waiting, separator, config, options, args.quiet, write)
    if args.json:
        json.dump(_manifest(jobs, model, args), sys.stdout, indent=2, default=os.fspath)
        sys.stdout.write("\n")
    return 1 if any(job.record.get("status") == "failed" for job in jobs) else 0


def _resolve(args: argparse.Namespace) -> ResolvedModel:
    """Find the model; without --model fall back to the bundled one if offline."""
    if args.model is not None:
        _check_folder(args.model, args.targets)
    model = resolve_model(args.model, args.targets, progress=not args.quiet)
    if model.note:
        say("umx", model.note)
    return model


def _check_folder(model: str, targets: Sequence[str] | None) -> None:
    """Raise ValueError for a target that a model folder lacks, as for published models."""
    path = Path(model).expanduser()
    if targets and model not in MODELS and path.exists():
        try:
            find_weights(path, targets)
        except CheckpointError as error:
            raise ValueError(f"--targets {' '.join(targets)}: {error}") from error


def _waiting(jobs: Sequence[_Job], skip_existing: bool, player: bool) -> list[_Job]:
    """Return the jobs to run; record those to skip."""
    waiting = []
    for job in jobs:
        job.record["input"] = job.source.path
        expected = {path.name for path in job.outputs.values()} | (
            {"index.html"} if player else set()
        )
        if skip_existing and is_done(job.folder, job.source.path, expected, job.settings):
            job.record.update(status="skipped", outputs=job.outputs)
            continue
        waiting.append(job)
        if skip_existing and all((job.folder / name).exists() for name in expected):
            logger.warning(
                "%r was not made from %r as it is, with this model and these settings: separating",
                str(job.folder),
                str(job.source.path),
            )
    return waiting


def _separate_all(
    jobs: Sequence[_Job],
    separator: Separator,
    config: StreamConfig,
    options: FileOptions,
    quiet: bool,
    write_page: Callable[[AudioSource, FileResult], Path] | None = None,
) -> None:
    """Separate every input; failures are reported on stderr and the rest still processed."""
    for job in jobs:
        with suppress(OpenUnmixError):  # raised again when the job runs
            job.duration = _duration(job.source)
    with Progress([job.duration for job in jobs], quiet) as progress:
        for job in jobs:
            begun = time.perf_counter()
            progress.start(job.source.path.name, job.duration)
            try:
                with suppress(OSError):  # raised again when the file is opened
                    before = describe_input(job.source.path, job.folder)
                result = separate_file(
                    job.source, job.folder, separator, options, config, progress.update
                )
                if write_page:
                    job.record["player"] = write_page(job.source, result)
            except _FILE_ERRORS as error:
                job.record.update(status="failed", error=_failure(job, error))
                progress.say(_failure(job, error))
            else:
                _record(job, result, time.perf_counter() - begun)
                _mark(job, before)
                if not quiet:
                    progress.say(_report(job, result))
            progress.finish()


def _failure(job: _Job, error: Exception) -> str:
    """Return the message of a failed job, which names the file."""
    named = isinstance(error, OpenUnmixError)
    return str(error) if named else f"{str(job.source.path)!r} failed: {error}"


def _record(job: _Job, result: FileResult, seconds: float) -> None:
    """Record a finished job for the manifest."""
    job.record.update(
        {"status": "done"} | vars(result),
        duration=round(result.duration, 3),
        seconds=round(seconds, 3),
        real_time_factor=round(seconds / result.duration, 4),
    )


def _mark(job: _Job, before: Mark) -> None:
    """Mark the outputs as complete; without a mark they count as not separated."""
    written = [*job.outputs.values(), *filter(None, [job.record.get("player")])]
    results = {"program": f"Open-Unmix {__version__}"}
    results |= {name: job.record[name] for name in ("duration", "seconds", "peak", "gain")}
    try:
        write_mark(
            *(job.folder, job.source.path, before, {path.name for path in written}),
            *(job.settings, results),
        )
    except OSError as error:
        logger.warning("%s: not marked as complete: %s", job.folder, error)


def _report(job: _Job, result: FileResult) -> str:
    """Summarise a finished job in a line."""
    line = f"{job.source.path.name}: {result.duration:.0f} s in {job.record['seconds']:.1f} s, "
    line += f"in {job.record.get('player', job.folder)}"
    if result.gain != 1.0:
        line += f"; all stems scaled by {result.gain:.3f} to avoid clipping"
    return line


def _write_player(
    source: AudioSource, result: FileResult, model: ResolvedModel, args: argparse.Namespace
) -> Path:
    """Write the player page of a separated track; return its path."""
    first = next(iter(result.outputs.values()))
    return write_page(
        first.parent,
        result.outputs,
        title=track_name(source.path),
        mixture=source,
        mixture_gain=result.gain,
        details={
            "Model": model.name,
            "Licence": model.licence or "not stated by its publishers",
            "Settings": _player_settings(args),
            "Made with": f"Open-Unmix {__version__}",
        },
        downloads={name: quote(path.name) for name, path in result.outputs.items()},
    )


def _player_settings(args: argparse.Namespace) -> str:
    """Describe how the track was separated."""
    window = (
        f"windows of {args.wiener_win_len} frames" if args.wiener_win_len else "the whole track"
    )
    iterations = f"{args.niter} iteration{'' if args.niter == 1 else 's'}"
    settings = [f"Wiener filter with {iterations} on {window}"]
    if args.softmask:
        settings.append("initialised with ratio masks")
    if args.precision != "float32":
        settings.append(f"networks in {args.precision}")
    if args.exact:
        settings.append("networks on the whole track at once")
    return ", ".join(settings)


def _duration(source: AudioSource) -> float:
    """Seconds to separate; 0 if unknown before decoding."""
    with source.open() as reader:
        return (reader.length or 0) / reader.info.sample_rate


def _describe(
    jobs: Sequence[_Job],
    separator: Separator,
    config: StreamConfig,
    options: FileOptions,
    quiet: bool,
) -> None:
    """Report what would be done, with the speed measured on ten seconds of noise."""
    rate = round(float(separator.sample_rate))
    noise = 0.1 * torch.randn(separator.nb_channels, 10 * rate)
    begun = time.perf_counter()
    separate_waveform(separator, noise, config)
    factor = (time.perf_counter() - begun) / 10
    memory = estimate_memory(separator, config) / 1e9
    for job in jobs:
        try:
            duration = check_file(job.source, job.folder, separator, options)
        except _FILE_ERRORS as error:
            job.record.update(status="failed", error=_failure(job, error))
            say("umx", _failure(job, error))
            continue
        job.record.update(
            status="planned",
            outputs=job.outputs,
            duration=round(duration, 3),
            expected_seconds=round(duration * factor, 1),
            expected_memory_gb=round(memory, 2),
        )
        if not quiet:
            places = ", ".join(map(str, dict.fromkeys(job.outputs.values())))
            line = f"{job.source.path}: {duration:.0f} s of audio, about "
            say("umx", f"{line}{duration * factor:.0f} s and {memory:.1f} GB, to {places}")


def _manifest(
    jobs: Sequence[_Job], model: ResolvedModel, args: argparse.Namespace
) -> dict[str, Any]:
    """Return the manifest of the whole run."""
    unrecorded = ("input", "json", "quiet", "verbose", "audio_backend")
    settings = {name: value for name, value in vars(args).items() if name not in unrecorded}
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
