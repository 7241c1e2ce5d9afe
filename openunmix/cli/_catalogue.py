"""The command ``umx-catalogue``: plan, run, status, verify, excerpts."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from openunmix._version import __version__
from openunmix.audio import OUTPUT_FORMATS
from openunmix.catalogue import Settings, plan, prepare, read_manifest
from openunmix.catalogue._ray import separate_with_ray
from openunmix.catalogue.excerpts import write_excerpts
from openunmix.catalogue.manifest import Row, usable, write_manifest
from openunmix.catalogue.processes import default_processes, separate_in_processes
from openunmix.catalogue.settings import claim_output
from openunmix.catalogue.status import Status, status_of, verify, write_results
from openunmix.catalogue.worker import Record
from openunmix.cli._options import EXIT_CODES, Group, add_shared, choose_device, run_command, say
from openunmix.pretrained.registry import BUNDLED_MODEL, DEFAULT_MODEL

NAME = "umx-catalogue"

# Seconds between two lines of progress.
_EVERY = 10.0

_DEPTHS = {"16": "16", "24": "24", "32": "32f"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Separate catalogues: many files, many machines, nothing twice, nothing lost.",
        epilog=EXIT_CODES.format(what="a song"),
    )
    parser.add_argument("--version", action="version", version=f"Open-Unmix {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_plan(commands.add_parser("plan", help="list and probe audio, into a manifest"))
    _add_run(commands.add_parser("run", help="separate what a manifest lists"))
    _add_status(commands.add_parser("status", help="show what is done, failed and left"))
    _add_verify(commands.add_parser("verify", help="find outputs that are missing or damaged"))
    _add_excerpts(commands.add_parser("excerpts", help="write WebDataset shards for training"))
    for name in commands.choices.values():
        add_shared(name, "--quiet")
    return parser


def _add_manifest(command: argparse.ArgumentParser) -> None:
    """Arguments of the commands that look at a run."""
    command.add_argument("manifest", metavar="MANIFEST", help="from umx-catalogue plan")
    command.add_argument("output", metavar="OUT", help="folder or URL of the outputs")


def _add_plan(command: argparse.ArgumentParser) -> None:
    """Arguments of ``plan``."""
    command.set_defaults(run=_plan)
    command.add_argument("source", metavar="SOURCE", help="folder, URL, or .txt with a URL a line")
    command.add_argument("manifest", metavar="MANIFEST", help="Parquet file to write")
    command.add_argument(
        "--jobs", type=_positive, default=16, help="files probed at a time (default: 16)"
    )


def _add_run(command: argparse.ArgumentParser) -> None:
    """Arguments of ``run``."""
    command.set_defaults(run=_run)
    _add_manifest(command)
    group = command.add_argument_group("model and outputs: another OUT for each choice")
    group.add_argument(
        "--model",
        help=f"name of a model, or path of a model folder (default: {DEFAULT_MODEL}, or the "
        f"bundled {BUNDLED_MODEL} if it cannot be downloaded)",
    )
    add_shared(group, "--targets", "--niter", "--wiener-win-len")
    group.add_argument(
        "--residual", nargs="?", const="residual", metavar="NAME", help="also write the residual"
    )
    group.add_argument(
        "--ext", default=".flac", choices=OUTPUT_FORMATS, help="format (default: .flac)"
    )
    group.add_argument("--bit-depth", choices=_DEPTHS, help="of .flac (default: 24) and .wav (32)")
    group.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    _add_machines(command.add_argument_group("machines"))


def _add_machines(group: Group) -> None:
    """Arguments of where to compute."""
    group.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    group.add_argument(
        "--processes",
        type=_positive,
        metavar="N",
        help="(default: one for each core or GPU, as many as fit into memory)",
    )
    group.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="I/N",
        help="only the I-th of N parts, from 0",
    )
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="use Ray: on this machine, or the cluster at ADDRESS (auto: the one of this machine)",
    )
    group.add_argument(
        "--threads", type=_positive, default=1, help="of each process of Ray (default: 1)"
    )


def _add_status(command: argparse.ArgumentParser) -> None:
    """Arguments of ``status``."""
    command.set_defaults(run=_status)
    _add_manifest(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--table", metavar="FILE", help="also write all results, as Parquet")


def _add_verify(command: argparse.ArgumentParser) -> None:
    """Arguments of ``verify``."""
    command.set_defaults(run=_verify)
    _add_manifest(command)
    command.add_argument("--sizes", action="store_true", help="compare sizes, do not read outputs")
    command.add_argument(
        "--repair",
        action="store_true",
        help="remove marks of damaged songs, so that a run separates them again, and files that "
        "killed processes left; not during a run",
    )


def _add_excerpts(command: argparse.ArgumentParser) -> None:
    """Arguments of ``excerpts``."""
    command.set_defaults(run=_excerpts)
    _add_manifest(command)
    command.add_argument("folder", metavar="FOLDER", help="folder or URL of the shards")
    command.add_argument(
        "--seconds", type=float, default=10.0, help="length of an excerpt (default: 10)"
    )
    command.add_argument(
        "--per-song", type=_positive, default=4, help="excerpts of each song (default: 4)"
    )
    command.add_argument(
        "--per-shard", type=_positive, default=1000, help="excerpts in a shard (default: 1000)"
    )


def _positive(text: str) -> int:
    """Parse a positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    """Parse the value of --shard."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 0 to N - 1, as 0/8")
    return int(index), int(count)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    kept = "songs that were complete are kept, and the same command goes on"
    return run_command(parser(), lambda args: int(args.run(args)), argv, kept)


def _plan(args: argparse.Namespace) -> int:
    """Write a manifest; return the exit code."""
    shown = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if not args.quiet and time.monotonic() - shown > _EVERY:
            shown = time.monotonic()
            say(NAME, f"{done} of {total} files probed")

    rows = plan(args.source, args.jobs, progress)
    write_manifest(args.manifest, rows)
    bad = [row for row in rows if row["error"] is not None]
    for row in bad:
        say(NAME, f"not usable: {row['error']}")
    hours = sum(row["seconds"] or 0 for row in rows if row["error"] is None) / 3600
    if not args.quiet:
        count = len(rows) - len(bad)
        say(NAME, f"{count} songs, {hours:.1f} h, in {args.manifest}; {len(bad)} not usable")
    return 0 if len(bad) < len(rows) else 1


def _settings(args: argparse.Namespace) -> Settings:
    """Return the settings of a run; ValueError for contradicting arguments."""
    if args.niter < 0 or args.wiener_win_len < 0:
        raise ValueError("--niter and --wiener-win-len cannot be negative")
    return Settings(
        output=args.output,
        model=args.model,
        targets=tuple(args.targets) if args.targets else None,
        residual=args.residual,
        niter=args.niter,
        wiener_win_len=args.wiener_win_len or None,
        extension=args.ext,
        depth=_DEPTHS[args.bit_depth] if args.bit_depth else None,
        precision=args.precision,
        # The machine that starts a cluster need not have the GPUs that its other machines have.
        device=args.device if args.ray and args.device == "cuda" else choose_device(args.device),
    )


def _run(args: argparse.Namespace) -> int:
    """Separate what a manifest lists; return the exit code."""
    everything = read_manifest(args.manifest)
    rows = usable(everything, args.shard)
    settings = prepare(_settings(args), progress=not args.quiet)
    claim_output(settings)
    if args.ray:
        address = None if args.ray == "local" else args.ray
        records = separate_with_ray(rows, settings, address, args.processes, args.threads)
    else:
        processes = args.processes or default_processes(settings)
        records = separate_in_processes(rows, settings, processes)
    counts = _report(records, rows, args.quiet)
    if args.shard[1] == 1:
        write_results(f"{args.output.rstrip('/')}/results.parquet", everything, args.output)
    return 0 if counts["done"] + counts["skipped"] == len(rows) else 1


def _report(records: Iterator[Record], rows: Sequence[Row], quiet: bool) -> dict[str, int]:
    """Print failures and progress; return how many rows ended how."""
    seconds = {row["id"]: row["seconds"] or 0.0 for row in rows}
    left, done = sum(seconds.values()), 0.0
    counts = dict.fromkeys(("done", "skipped", "failed"), 0)
    begun = shown = time.monotonic()

    def line() -> str:
        elapsed = time.monotonic() - begun
        speed = done / elapsed if elapsed else 0.0
        text = f"{counts['done'] + counts['skipped']} of {len(rows)} songs"
        text += f" ({counts['skipped']} done before), {counts['failed']} failed, "
        text += f"{done / 3600:.2f} h of audio at {speed:.1f} h an hour, {left / 3600:.2f} h left"
        return text + (f": {left / speed / 3600:.2f} h to go" if speed and left else "")

    for record in records:
        counts[record["status"]] += 1
        left -= seconds[record["id"]]
        if record["status"] == "done":
            done += seconds[record["id"]]
        if record["status"] == "failed":
            say(NAME, record["error"])
        if not quiet and time.monotonic() - shown > _EVERY:
            shown = time.monotonic()
            say(NAME, line())
    if not quiet:
        say(NAME, line())
    lost = len(rows) - sum(counts.values())
    if lost:
        say(NAME, f"{lost} songs were lost with their processes; run again")
    return counts


def _status(args: argparse.Namespace) -> int:
    """Print the state of a run; return the exit code."""
    rows = read_manifest(args.manifest)
    status = status_of(rows, args.output)
    if args.table:
        write_results(args.table, rows, args.output)
    if args.json:
        entries = asdict(status) | {"left": status.left, "hours_left": status.hours_left}
        print(json.dumps(entries, indent=1))
    else:
        _print(status)
    return 1 if status.failed else 0


def _print(status: Status) -> None:
    """Print the state of a run."""
    print(f"songs     {status.songs}, {status.unusable} of them not usable")
    print(f"done      {status.done}, {status.hours_done:.2f} of {status.hours:.2f} h of audio")
    print(f"failed    {len(status.failed)}")
    print(f"left      {status.left}")
    if status.hours_per_hour is not None and status.hours_left is not None:
        print(f"speed     {status.hours_per_hour:.1f} h of audio an hour")
        print(f"time left {status.hours_left:.2f} h")
    for reason in status.failed.values():
        print(f"failed: {reason}")


def _verify(args: argparse.Namespace) -> int:
    """Print what is missing or damaged; return the exit code."""
    rows = read_manifest(args.manifest)
    found = 0
    for line in verify(rows, args.output, args.sizes, args.repair):
        found += 1
        print(line)
    if not args.quiet:
        say(NAME, f"{found} songs are missing or damaged" if found else "all songs are complete")
    return 1 if found else 0


def _excerpts(args: argparse.Namespace) -> int:
    """Write shards of excerpts; return the exit code."""
    if not args.seconds > 0:
        raise ValueError("--seconds must be positive")
    rows = read_manifest(args.manifest)
    count = write_excerpts(
        rows, args.output, args.folder, args.seconds, args.per_song, args.per_shard
    )
    if not args.quiet:
        say(NAME, f"{count} excerpts in {args.folder}")
    return 0 if count else 1
