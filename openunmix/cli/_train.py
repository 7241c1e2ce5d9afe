"""The command ``umx-train``: train networks, from the first minute to several GPUs."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from openunmix._files import replacing
from openunmix.cli._options import (
    EXIT_CODES,
    add_no_cuda,
    add_quiet,
    choose_device,
    run_command,
    say,
)
from openunmix.cli._train_options import (
    STEMS,
    Data,
    add_options,
    dataset_name,
    dataset_options,
    describe,
    load_data,
    settings,
    summary,
)
from openunmix.cli._train_progress import Display
from openunmix.data import check_dataset
from openunmix.data.tracks import TrackAudio
from openunmix.errors import CheckpointError, MissingExtraError
from openunmix.model import MaskNetwork
from openunmix.pretrained.folder import load_folder
from openunmix.training import PRESETS, Trainer, TrainingConfig, fit
from openunmix.training.checkpoint import find_state, state_file
from openunmix.training.loop import Scores
from openunmix.training.networks import pretrained_networks
from openunmix.training.parallel import keep_freed_memory, launched
from openunmix.training.report import SCORES_NAME, environment, write_report
from openunmix.training.tensorboard import TensorBoard
from openunmix.training.validation import (
    first_tracks,
    load_validation_tracks,
    median_scores,
    separator_of,
    track_scores,
)

__all__ = ["main", "parser", "run"]

logger = logging.getLogger(__name__)

# Songs of a dataset whose scores are shown.
_SONGS = 4
# Songs that are scored at the end, where that takes too long to be done on the way.
_SONGS_AT_END = 14
# Processes that load ahead, unless a number is given; more hardly help.
_MOST_WORKERS = 4


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-train",
        usage="umx-train [OPTION ...]   (umx-train --help lists the options)",
        description="Train Open-Unmix. Without arguments, on songs that the code makes itself.",
        epilog=EXIT_CODES.format(what="training")
        + " 130 after Ctrl-C; the same command goes on then.",
    )
    add_options(parser)
    run = parser.add_argument_group("run")
    run.add_argument(
        "--output",
        type=Path,
        default=Path("open-unmix"),
        metavar="DIR",
        help="folder of the run (default: open-unmix); a run that is there goes on",
    )
    run.add_argument("--checkpoint", type=Path, metavar="DIR", help="go on from this run")
    run.add_argument(
        "--nb-workers", type=int, metavar="N", help="processes that load ahead (default: by cores)"
    )
    run.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    add_no_cuda(run)
    run.add_argument("--check", action="store_true", help="only look for faults in the data")
    run.add_argument("--report", action="store_true", help="only write the report of a run")
    run.add_argument("--tensorboard", action="store_true", help="log to DIR/tensorboard")
    run.add_argument("--pth", action="store_true", help="files of openunmix 1.3.0, too")
    add_quiet(run)
    run.add_argument("--audio-backend", help=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, or only look at the data or at what was trained; return the exit code."""
    if args.report:
        say("umx-train", f"wrote {write_report(args.output)}")
        return 0
    config = settings(args)
    workers = _workers(args)
    if args.check:
        return _check(args, config)
    _prepare_output(args.output, args.checkpoint)
    networks = None
    if args.model:
        networks, config = pretrained_networks(args.model, config)
    _warn_of_version_1(args, config)
    device = choose_device(args.device, args.no_cuda)
    keep_freed_memory(device)
    data = load_data(args, config)
    config = replace(config, targets=data.targets)
    songs = _songs(args, config, data)
    quiet = args.quiet or launched().rank > 0
    if not quiet:
        logging.getLogger("openunmix.training").setLevel(logging.INFO)
        for line in describe(args, data, config):
            say("umx-train", line)
    with ExitStack() as stack:
        display = stack.enter_context(Display(quiet))
        observers = [display.record, *_tensorboard(args, songs, stack)]
        stop = stack.enter_context(_asked_to_stop())
        trainer = fit(
            config,
            data.train,
            args.output,
            data.valid,
            networks=networks,
            scores=_scores(config, songs),
            device=device,
            workers=workers,
            on_step=display.step,
            stop=stop,
            on_record=lambda *record: [observe(*record) for observe in observers],
            metadata=_metadata(args, data),
            legacy_files=args.pth,
        )
        if stop():
            raise KeyboardInterrupt
    if not quiet:
        say("umx-train", _ending(args, trainer))
    if trainer.processes.is_first:
        _score(args, config, data, songs)
        _write_report(args)
    return 0


def _tensorboard(
    args: argparse.Namespace, songs: list[TrackAudio], stack: ExitStack
) -> list[Callable[[Trainer, dict[str, Any]], None]]:
    """Return what writes records for TensorBoard, in the first process and if asked for."""
    if not args.tensorboard or launched().rank > 0:
        return []
    board = TensorBoard(args.output / "tensorboard", songs[:_SONGS])
    return [stack.enter_context(board).record]


def _workers(args: argparse.Namespace) -> int:
    """Return how many processes load ahead; stems are in memory, and mixed in no time."""
    if args.nb_workers is not None:
        if args.nb_workers < 0:
            raise ValueError(f"--nb-workers must be 0 or more, not {args.nb_workers}")
        return int(args.nb_workers)
    if dataset_name(args) == STEMS:
        return 0
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return max(0, min(_MOST_WORKERS, len(usable) // launched().world_size - 1))


def _warn_of_version_1(args: argparse.Namespace, config: TrainingConfig) -> None:
    """Tell what openunmix 1.3.0 does not know of the networks whose files it is to get."""
    options = {
        "--bridged": config.bridged,
        "--unidirectional": config.unidirectional,
        "--compression": config.compression != 1,
        "--nb-layers": config.nb_layers != PRESETS["classic"].nb_layers,
    }
    unknown = ", ".join(option for option, given in options.items() if given)
    if args.pth and unknown:
        logger.warning("openunmix 1.3.0 cannot use the files of --pth, as it ignores %s", unknown)


def _check(args: argparse.Namespace, config: TrainingConfig) -> int:
    """Check the dataset; return 1 if they should not be trained on."""
    with Display(args.quiet) as display:
        report = check_dataset(dataset_options(args, config), display.checked)
    print(report.text(), end="")
    return 1 if report.errors else 0


def _ending(args: argparse.Namespace, trainer: Trainer) -> str:
    """Say how the run ended, and what can be done now."""
    complete = trainer.step >= trainer.schedule.steps
    reason = "all are done" if complete else "the validation loss does not fall any more"
    return (
        f"ended after {trainer.step} of {trainer.schedule.steps} steps, as {reason}; the model "
        f"is in {args.output}: umx song.wav --model {args.output.resolve()}"
    )


def _score(
    args: argparse.Namespace, config: TrainingConfig, data: Data, songs: list[TrackAudio]
) -> None:
    """Score the model at the end, if it was not done on the way."""
    if songs or data.valid is None:
        return
    shape = (config.targets, config.sample_rate, config.nb_channels)
    songs = first_tracks(data.valid, *shape, _SONGS_AT_END)
    scores = _scores(config, songs)
    if scores is not None:
        networks = load_folder(args.output, config.targets).networks
        found = scores({target: network.cpu() for target, network in networks.items()})
        with replacing(args.output / SCORES_NAME) as temporary:
            temporary.write_text(json.dumps(found, indent=1), "utf-8")
        if not args.quiet:
            values = ", ".join(f"{target} {value:.2f}" for target, value in found.items())
            say("umx-train", f"median SDR of {len(songs)} validation songs in dB: {values}")


def _write_report(args: argparse.Namespace) -> None:
    """Write the report at the end, if that is possible."""
    try:
        page = write_report(args.output)
    except MissingExtraError as error:
        logger.warning("no report: %s", error)
    else:
        if not args.quiet:
            say("umx-train", f"wrote {page}")


def _prepare_output(output: Path, checkpoint: Path | None) -> None:
    """Raise if the output has files of something else; bring the state of another run there."""
    if find_state(output) is not None:
        return
    weights = sorted([*output.glob("*.safetensors"), *output.glob("*.pth")])
    if weights:
        raise CheckpointError(
            f"{output} has a model ({weights[0].name}), but no checkpoint to go on from; choose "
            f"another --output, and to train that model further, --model {output}"
        )
    if checkpoint is not None:
        found = find_state(checkpoint)
        if found is None:
            raise CheckpointError(
                f"{checkpoint} has no checkpoint of a run; to train a model further, give it "
                "as --model"
            )
        place = (
            state_file(output).with_name(found.name)
            if found.suffix != ".chkpnt"
            else (output / found.name)
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, place)


def _songs(args: argparse.Namespace, config: TrainingConfig, data: Data) -> list[TrackAudio]:
    """Return songs to score networks on; none where whole songs would take too long."""
    shape = (config.targets, config.sample_rate, config.nb_channels)
    if data.valid is None:
        return load_validation_tracks(args.root / "valid", *shape)
    if dataset_name(args) == "synthetic" or args.tensorboard:
        return first_tracks(data.valid, *shape, _SONGS)
    return []


def _scores(config: TrainingConfig, songs: list[TrackAudio]) -> Scores | None:
    """Return what scores networks on songs, if there are any."""
    if not songs:
        return None

    residual = any(song.has_other_sources for song in songs)

    def scores(networks: dict[str, MaskNetwork]) -> dict[str, float]:
        shape = (config.sample_rate, config.n_fft, config.n_hop, config.bridged, residual)
        return median_scores(track_scores(separator_of(networks, *shape), songs))

    return scores


def _metadata(args: argparse.Namespace, data: Data) -> dict[str, Any]:
    """Return what ``<target>.json`` tells of a run: its options, as in 1.3.0, data and versions."""
    options = {name: value for name, value in vars(args).items() if value not in (None, [])}
    made_with = environment()
    return {
        "args": json.loads(json.dumps(options, default=str)),
        "data": {"train": summary(data.train), "valid": summary(data.valid)},
        "environment": made_with,
        "commit": made_with["commit"],
    }


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM ask for the end of the step; a second time, they end at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    kept = "a checkpoint was written, and the same command goes on"
    return run_command(parser(), run, argv, kept)
