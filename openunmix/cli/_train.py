"""The command ``umx-train``: train networks, from the first minute to several GPUs."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from openunmix._files import replacing
from openunmix._signals import Stopped, ending_signals
from openunmix.cli._options import EXIT_CODES, add_shared, choose_device, run_command, say
from openunmix.cli._train_data import (
    STEMS,
    Data,
    dataset_name,
    dataset_options,
    describe,
    load_data,
    summary,
    validation_tracks,
)
from openunmix.cli._train_options import add_options, settings
from openunmix.cli._train_progress import Display
from openunmix.data import check_dataset
from openunmix.data.tracks import TrackAudio
from openunmix.errors import MissingExtraError
from openunmix.model import MaskNetwork
from openunmix.pretrained.config import changed_options
from openunmix.pretrained.folder import load_folder
from openunmix.training import Trainer, TrainingConfig, fit
from openunmix.training.checkpoint import prepare_output
from openunmix.training.networks import pretrained_networks
from openunmix.training.parallel import keep_freed_memory, launched
from openunmix.training.report import SCORES_NAME, environment, write_report
from openunmix.training.tensorboard import TensorBoard
from openunmix.training.validation import first_tracks, scores_of

logger = logging.getLogger(__name__)

_SHOWN_TRACKS = 4  # in TensorBoard
_FINAL_TRACKS = 14  # scored at the end, where it takes too long to do so during the run
_MOST_WORKERS = 4  # more hardly help
_KNOWN_TO_VERSION_1 = {"hidden_size", "bandwidth", "dropout", "shared"}  # or of no effect there


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-train",
        usage="umx-train [OPTION ...]   (umx-train --help lists the options)",
        description="Train Open-Unmix; without arguments, on synthetic tracks.",
        epilog=EXIT_CODES.format(what="training")
        + " 130 after Ctrl-C; the same command resumes the run.",
    )
    add_options(parser)
    run = parser.add_argument_group("run")
    run.add_argument(
        "--output",
        type=Path,
        default=Path("open-unmix"),
        metavar="DIR",
        help="folder of the run; a run that is there is resumed (default: open-unmix)",
    )
    run.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="resume the run of this folder in --output"
    )
    run.add_argument(
        "--nb-workers",
        type=int,
        metavar="N",
        help=f"processes that load ahead (default: 0 for {STEMS}, else cores - 1, at most "
        f"{_MOST_WORKERS})",
    )
    run.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda", "mps"],
        default="auto",
        help="where to train; auto is the NVIDIA GPU if there is one, else the CPU (default: auto)",
    )
    add_shared(run, "--no-cuda")
    run.add_argument("--check", action="store_true", help="check the dataset, and do not train")
    run.add_argument("--report", action="store_true", help="write the report, and do not train")
    run.add_argument("--tensorboard", action="store_true", help="log to tensorboard/ in --output")
    run.add_argument("--pth", action="store_true", help="write the files of openunmix 1.3.0, too")
    add_shared(run, "--quiet")
    run.add_argument("--audio-backend", help=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, check the dataset or write a report; return the exit code."""
    if args.report:
        say("umx-train", f"wrote {write_report(args.output)}")
        return 0
    config = settings(args)
    workers = _workers(args)
    if args.check:
        return _check(args, config)
    prepare_output(args.output, args.checkpoint)
    networks = None
    if args.model:
        networks, config = pretrained_networks(args.model, config)
    _warn_of_version_1(args, config)
    device = choose_device(args.device, args.no_cuda)
    keep_freed_memory(device)
    data = load_data(args, config)
    config = replace(config, targets=data.targets)
    tracks = validation_tracks(args, config, data)
    args.quiet = args.quiet or launched().rank > 0
    if not args.quiet:
        logging.getLogger("openunmix.training").setLevel(logging.INFO)
        for line in describe(args, data, config):
            say("umx-train", line)
    trainer = _fit(args, config, data, tracks, networks, device, workers)
    if not args.quiet:
        say("umx-train", _ending(args, trainer))
    if trainer.processes.is_first:
        if not tracks and data.valid is not None:
            _score(args, config, data)
        _write_report(args)
    return 0


def _fit(
    args: argparse.Namespace,
    config: TrainingConfig,
    data: Data,
    tracks: list[TrackAudio],
    networks: Mapping[str, MaskNetwork] | None,
    device: str,
    workers: int,
) -> Trainer:
    """Train with progress, TensorBoard and signals; KeyboardInterrupt after the last step."""
    with ExitStack() as stack:
        display = stack.enter_context(Display(args.quiet))
        observers = [display.record]
        if args.tensorboard and launched().rank == 0:
            board = TensorBoard(args.output / "tensorboard", tracks[:_SHOWN_TRACKS])
            observers.append(stack.enter_context(board).record)
        stop = stack.enter_context(_stop_signals())
        trainer = fit(
            config,
            data.train,
            args.output,
            data.valid,
            networks=networks,
            scores=partial(scores_of, config=config, tracks=tracks) if tracks else None,
            device=device,
            workers=workers,
            on_step=display.step,
            stop=lambda: stop() > 0,
            on_record=lambda *record: [observe(*record) for observe in observers],
            metadata=_metadata(args, data),
            legacy_files=args.pth,
        )
        if number := stop():
            raise Stopped(number)
    return trainer


def _workers(args: argparse.Namespace) -> int:
    """Return how many processes load ahead; stems are in memory, and mixed on the device."""
    if args.nb_workers is not None:
        if args.nb_workers < 0:
            raise ValueError(f"--nb-workers must be 0 or more, not {args.nb_workers}")
        return int(args.nb_workers)
    if dataset_name(args) == STEMS:
        return 0
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return max(0, min(_MOST_WORKERS, len(usable) // launched().world_size - 1))


def _warn_of_version_1(args: argparse.Namespace, config: TrainingConfig) -> None:
    """Warn of options of the networks that openunmix 1.3.0 ignores when it reads --pth."""
    changed = changed_options(config.architecture)
    unknown = ["--" + name.replace("_", "-") for name in changed if name not in _KNOWN_TO_VERSION_1]
    if args.pth and unknown:
        given = ", ".join(unknown)
        logger.warning("openunmix 1.3.0 cannot use the files of --pth, as it ignores %s", given)


def _check(args: argparse.Namespace, config: TrainingConfig) -> int:
    """Check the dataset; return 1 if it has errors."""
    with Display(args.quiet) as display:
        options = dataset_options(args, config)
        options.mixing = config.mixing
        report = check_dataset(options, display.checked)
    print(report.text(), end="")
    return 1 if report.errors else 0


def _ending(args: argparse.Namespace, trainer: Trainer) -> str:
    """Return the last message: how the run ended, and how to use the model."""
    step, steps = trainer.step, trainer.schedule.steps
    done = f"finished all {steps} steps"
    if step < steps:
        done = f"stopped early after {step} of {steps} steps, as the validation loss stagnates"
    return f"{done}; model written to {args.output}: umx song.wav --model {args.output.resolve()}"


def _score(args: argparse.Namespace, config: TrainingConfig, data: Data) -> None:
    """Score the model at the end, if it was not scored during the run."""
    assert data.valid is not None
    tracks = first_tracks(data.valid, config, _FINAL_TRACKS)
    if not tracks:
        return
    networks = load_folder(args.output, config.targets).networks
    found = scores_of({target: n.cpu() for target, n in networks.items()}, config, tracks)
    with replacing(args.output / SCORES_NAME) as temporary:
        temporary.write_text(json.dumps(found, indent=1), "utf-8")
    if not args.quiet:
        values = ", ".join(f"{target} {value:.2f}" for target, value in found.items())
        say("umx-train", f"median SDR of {len(tracks)} validation tracks in dB: {values}")


def _write_report(args: argparse.Namespace) -> None:
    """Write the report at the end, if matplotlib is installed."""
    try:
        page = write_report(args.output)
    except MissingExtraError as error:
        logger.warning("no report: %s", error)
    else:
        if not args.quiet:
            say("umx-train", f"wrote {page}")


def _metadata(args: argparse.Namespace, data: Data) -> dict[str, Any]:
    """Metadata of ``<target>.json``: options, as in 1.3.0, data and versions."""
    options = {name: value for name, value in vars(args).items() if value not in (None, [])}
    made_with = environment()
    return {
        "args": json.loads(json.dumps(options, default=str)),
        "data": {"train": summary(data.train), "valid": summary(data.valid)},
        "environment": made_with,
        "commit": made_with["commit"],
    }


@contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
    """Stop after the current step on Ctrl-C, SIGTERM, SIGHUP, and at once on the second one."""
    received: list[int] = []

    def receive(number: int, frame: object) -> None:
        if received and number in (signal.SIGINT, signal.SIGTERM):  # terminals may hang up twice
            raise Stopped(number)
        received.append(number)

    before = {number: signal.signal(number, receive) for number in ending_signals()}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(
        parser(), run, argv, "a checkpoint was written, and the same command resumes the run"
    )
