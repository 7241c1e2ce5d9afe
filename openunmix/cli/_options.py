"""Options that commands share, messages on stderr, and exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from openunmix._signals import Stopped, stopping
from openunmix.cli._progress import printable
from openunmix.cli._streams import standard_streams
from openunmix.errors import OpenUnmixError, UnknownModelError

EXIT_CODES = "Exit code: 0 on success, 1 if {what} failed, 2 for a usage error."

_SHOWN = 200  # characters of a value in a message

#: A parser, or a group of it.
Group: TypeAlias = argparse._ActionsContainer


def _aggregate(text: str) -> dict[str, list[str]]:
    """Parse the value of --aggregate."""
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    try:
        aggregations = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{shown} is not JSON: {error}") from error
    if (
        not isinstance(aggregations, dict)
        or not aggregations
        or not all(
            isinstance(parts, list) and parts and all(isinstance(part, str) for part in parts)
            for parts in aggregations.values()
        )
    ):
        raise argparse.ArgumentTypeError(f'{shown} is not of the form {{"name": ["target", ...]}}')
    return aggregations


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError for a name that it has twice."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a name is there twice: {', '.join(names)}")
    return dict(pairs)


#: Options that several commands have, and the settings of `argparse` for each.
_SHARED: dict[str, dict[str, Any]] = {
    "--targets": {"nargs": "+", "metavar": "TARGET", "help": "use only these targets"},
    "--aggregate": {
        "type": _aggregate,
        "metavar": "JSON",
        "help": "sums of targets to use instead of the targets, such as "
        '\'{"vocals": ["vocals"], "accompaniment": ["drums", "bass", "other"]}\'',
    },
    "--niter": {
        "type": int,
        "default": 1,
        "help": "EM iterations of the Wiener filter (default: 1)",
    },
    "--wiener-win-len": {
        "type": int,
        "default": 300,
        "metavar": "FRAMES",
        "help": "window of the Wiener filter (default: 300; 0: the whole track)",
    },
    "--filterbank": {"choices": ["torch", "asteroid"], "default": "torch", "help": "STFT to use"},
    "--no-cuda": {"action": "store_true", "help": "compute on the CPU"},
    "--quiet": {"action": "store_true", "help": "no progress, only errors"},
}


def add_shared(group: Group, *names: str) -> None:
    """Add options that several commands have."""
    for name in names:
        group.add_argument(name, **_SHARED[name])


def choose_device(name: str = "auto", no_cuda: bool = False) -> str:
    """Return the device to compute on; raise ValueError if it is not available."""
    if no_cuda or name == "cpu":
        return "cpu"
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available[name]:
        raise ValueError(f"--device {name}: torch finds no such device here")
    return name


def run_command(
    command: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
    interrupted: str,
) -> int:
    """Parse the arguments and run the command; return its exit code.

    An error becomes a line on stderr and 1, or 2 for an unknown model. A ValueError is wrong
    usage and ends the process with 2. Ctrl-C, SIGTERM and SIGHUP print `interrupted` (what is
    kept, and what the same command does then) and return 128 and the number of the signal.
    """
    with standard_streams(command.prog):
        try:
            return _run_command(command, run, argv, interrupted)
        except SystemExit as end:
            if end.code:
                raise
            return 0  # of --help and --version, which print results, too


def _run_command(
    command: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
    interrupted: str,
) -> int:
    """Run a command whose standard streams can be used; return its exit code."""
    args = command.parse_args(argv)
    logging.basicConfig(level=_log_level(args), format=f"{command.prog}: %(message)s")
    try:
        with stopping():
            return run(args)
    except (OpenUnmixError, OSError) as error:
        say(command.prog, str(error))
        return 2 if isinstance(error, UnknownModelError) else 1
    except (ValueError, OverflowError) as error:  # the latter for numbers such as 1e999
        command.error(str(error))
    except KeyboardInterrupt as error:
        say(command.prog, f"interrupted; {interrupted}")
        return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)


def _log_level(args: argparse.Namespace) -> int:
    """Return the level from which messages are logged, by --quiet and --verbose."""
    if getattr(args, "verbose", False):
        return logging.INFO
    return logging.ERROR if getattr(args, "quiet", False) else logging.WARNING


def say(command: str, line: str) -> None:
    """Print a line on stderr, after the name of the command."""
    print(f"{command}: {printable(line)}", file=sys.stderr)
