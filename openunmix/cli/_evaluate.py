"""The command ``umx-evaluate``: score a model, or the estimates of another program."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from openunmix.cli._options import EXIT_CODES, add_shared, choose_device, run_command, say
from openunmix.errors import AudioFileError
from openunmix.evaluate import (
    Evaluation,
    System,
    Track,
    TrackScores,
    evaluate_tracks,
    find_tracks,
    median_over_tracks,
)
from openunmix.evaluate.earlier import earlier_scores
from openunmix.evaluate.oracles import MIXTURE, ORACLES
from openunmix.evaluate.report import worst_tracks, write_report
from openunmix.evaluate.scores import METRICS
from openunmix.evaluate.system import TARGETS
from openunmix.evaluate.tracks import estimate_files, find_estimates, find_pairs
from openunmix.pretrained import resolve_model
from openunmix.pretrained.registry import DEFAULT_MODEL
from openunmix.web import write_page

_say = partial(say, "umx-evaluate")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="umx-evaluate",
        description="Score separated music with BSS Eval v4 (SDR, ISR, SIR, SAR), as museval does.",
        epilog=EXIT_CODES.format(what="a track"),
    )
    what = parser.add_argument_group("what to score")
    what.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"model name or folder (default: {DEFAULT_MODEL})"
    )
    what.add_argument(
        "--estimates",
        type=Path,
        metavar="DIR",
        help="score these estimates instead of a model: DIR/<track>/<target>.wav",
    )
    add_shared(what, "--targets")
    what.add_argument("--residual", action="store_true", help="score the residual as well")
    add_shared(what, "--aggregate")
    what.add_argument(
        "--oracles",
        nargs="*",
        choices=[*ORACLES, MIXTURE],
        default=[],
        help="also score ideal ratio masks, the multichannel Wiener filter, the mixture",
    )
    _add_data_options(parser.add_argument_group("data"))
    computing = parser.add_argument_group("computing")
    computing.add_argument("--cores", type=int, default=1, help="number of processes (default: 1)")
    add_shared(computing, "--no-cuda", "--niter", "--wiener-win-len", "--filterbank", "--quiet")
    return parser


def _add_data_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of tracks and outputs."""
    group.add_argument(
        "--root", type=Path, help="MUSDB18, MUSDB18-HQ, or any folder of track folders"
    )
    group.add_argument("--subset", default="test", help="folder below the root (default: test)")
    group.add_argument(
        "--is-wav", action="store_true", help="read folders of stems only, no .stem.mp4 files"
    )
    group.add_argument(
        "--pairs",
        type=Path,
        metavar="CSV",
        help="instead of --root and --estimates: a line per track, STEMS_DIR,ESTIMATES_DIR",
    )
    group.add_argument("--outdir", type=Path, help="folder to write the estimates to")
    group.add_argument(
        "--player",
        action="store_true",
        help="write a player page for each of the worst ten tracks; needs --outdir for a model",
    )
    group.add_argument(
        "--evaldir",
        type=Path,
        help="folder to write scores and report to (default: evaluation_<model>); scores there "
        "are kept if files and settings are the same",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(parser(), run, argv, "repeat the command to score the remaining tracks")


def run(args: argparse.Namespace) -> int:
    """Score all tracks; return the exit code."""
    if args.cores < 1 or args.niter < 0 or args.wiener_win_len < 0:
        raise ValueError("--cores must be positive, --niter and --wiener-win-len not negative")
    if args.player and args.outdir is None and args.estimates is None and args.pairs is None:
        raise ValueError("--player needs --outdir, where the estimates to play are written")
    tracks = _tracks(args)
    system = _system(args)
    folder = args.evaldir or Path(f"evaluation_{system.name}")
    evaluation = _evaluate(args, system, tracks, folder, args.outdir)
    systems = {system.name: evaluation.scores}
    for oracle in dict.fromkeys(args.oracles):
        other = replace(system, model=None, estimates=None, oracle=oracle)
        systems[oracle] = _evaluate(args, other, tracks, folder / "oracles" / oracle, None).scores
    audio = _estimate_folders(tracks, system, args.outdir)
    players = _write_players(evaluation.scores, tracks, audio, folder) if args.player else {}
    write_report(folder / "report.html", systems, evaluation.failures, audio, players)
    for name, scores in systems.items():
        _print_medians(name, scores)
    if evaluation.failures:
        failed = f"{len(evaluation.failures)} of {len(tracks)} tracks could not be scored"
        _say(f"{failed}; repeat the command to try them again")
    if not args.quiet:
        _say(f"report and scores written to {folder}")
    return 1 if evaluation.failures else 0


def _tracks(args: argparse.Namespace) -> list[Track]:
    """Find the tracks; raise ValueError for missing or contradictory options."""
    if (args.root is None) == (args.pairs is None):
        raise ValueError("give either --root DIR or --pairs CSV")
    if args.pairs is not None:
        if args.estimates is not None:
            raise ValueError("--pairs lists the estimates: omit --estimates")
        return find_pairs(args.pairs, args.subset)
    if Path(args.subset).name != args.subset:
        raise ValueError(f"--subset {args.subset}: give the name of a folder below the root")
    return find_tracks(args.root, args.subset, args.is_wav)


def _system(args: argparse.Namespace) -> System:
    """Return the system to score."""
    system = partial(System, residual=args.residual, aggregate=args.aggregate)
    estimates = args.estimates if args.pairs is None else args.pairs.with_suffix("")
    if estimates is not None:
        return system(estimates=estimates, targets=tuple(args.targets or TARGETS))
    model = resolve_model(args.model, args.targets, progress=not args.quiet)
    return system(
        model,
        targets=tuple(model.targets),
        niter=args.niter,
        wiener_win_len=args.wiener_win_len or None,
        device=choose_device(no_cuda=args.no_cuda),
        filterbank=args.filterbank,
    )


def _evaluate(
    args: argparse.Namespace,
    system: System,
    tracks: Sequence[Track],
    folder: Path,
    outdir: Path | None,
) -> Evaluation:
    """Score one system; report each track on stderr."""
    earlier = earlier_scores(tracks, system, folder, outdir)
    finished = len(earlier.kept)
    if finished and not args.quiet:
        _say(f"{system.name}: {finished} of {len(tracks)} already scored in {folder}")
    for name, reason in earlier.outdated.items():
        if not args.quiet:
            _say(f"{name}: scoring again: {reason}")

    def progress(name: str, result: TrackScores | str) -> None:
        nonlocal finished
        finished += 1
        if isinstance(result, str):
            _say(f"{name}: {result}")
            return
        for note in result.notes:
            _say(f"{name}: {note}")
        if not args.quiet:
            medians = ", ".join(f"{t} {result.median(t, 'SDR'):.2f}" for t in result.frames)
            _say(f"{system.name}, {finished} of {len(tracks)}, {name}: SDR {medians}")

    return evaluate_tracks(tracks, system, folder, outdir, args.cores, progress, earlier)


def _estimate_folders(
    tracks: Sequence[Track], system: System, outdir: Path | None
) -> dict[str, Path]:
    """Return the folder of each track's estimates, if they are in files."""
    folders = {}
    for track in tracks:
        if system.estimates is not None:
            with suppress(AudioFileError):
                folders[track.name] = find_estimates(system.estimates, track)
        elif outdir is not None:
            folders[track.name] = outdir / track.subset / track.name
    return folders


def _write_players(
    scores: Sequence[TrackScores],
    tracks: Sequence[Track],
    audio: Mapping[str, Path],
    folder: Path,
) -> dict[str, Path]:
    """Write a player page for each of the worst tracks; a failure does not stop the others."""
    mixtures = {track.name: track.mixture for track in tracks}
    pages = {}
    for track in worst_tracks(scores):
        try:
            pages[track.name] = write_page(
                folder / "players" / track.subset / track.name,
                estimate_files(audio[track.name], track.frames),
                title=track.name,
                mixture=mixtures[track.name],
                details={f"SDR of {t}": f"{track.median(t, 'SDR'):.2f} dB" for t in track.frames},
            )
        except (AudioFileError, ValueError) as error:
            _say(f"{track.name}: no player page: {error}")
    return pages


def _print_medians(name: str, scores: Sequence[TrackScores]) -> None:
    """Print the scores of a system on stdout."""
    if not scores:
        return
    print(f"{name}: medians over frames, then over {len(scores)} tracks, in dB")
    for target, values in median_over_tracks(scores).items():
        cells = (f"{metric} {values[metric]:6.2f}" for metric in METRICS)
        print(f"  {target:<14}" + "  ".join(cells).replace("nan", "  -"))
