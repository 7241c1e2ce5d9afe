"""The command ``umx-serve``: separate songs in a browser."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import secrets
import socket
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from openunmix._version import __version__
from openunmix.cli._options import choose_device, run_command, say
from openunmix.pretrained.registry import BUNDLED_MODEL, DEFAULT_MODEL
from openunmix.web.server.settings import LOOPBACK_NAMES, Settings

__all__ = ["main", "parser", "run"]

_COMMAND = "umx-serve"

_DAY = 86400.0

# Characters of the shortest token that is taken; random ones have 43.
_SHORTEST_TOKEN = 16

_DEFAULTS = Settings(Path())


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=_COMMAND,
        description="Separate songs in a browser, on this machine alone unless told otherwise.",
    )
    parser.add_argument("--version", action="version", version=f"Open-Unmix {__version__}")
    _add_network_options(parser.add_argument_group("network"))
    _add_separation_options(parser.add_argument_group("separation"))
    _add_limits(parser.add_argument_group("limits"))
    return parser


def _add_network_options(group: argparse._ArgumentGroup) -> None:
    """Say where to listen, and to whom."""
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, which only this machine reaches)",
    )
    group.add_argument(
        "--port", type=int, default=8765, help="port (default: 8765; 0: any that is free)"
    )
    group.add_argument(
        "--token",
        help="what clients must show; needed and made up where others can reach the server "
        "(default: $OPENUNMIX_TOKEN)",
    )
    group.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        help="a name of this server besides localhost, as behind a proxy; can be repeated",
    )
    group.add_argument("--open", action="store_true", help="open the page in a browser")


def _add_separation_options(group: argparse._ArgumentGroup) -> None:
    """Say what to compute with."""
    group.add_argument(
        "--model",
        help="the default model: a name, or the path of a model folder (default: "
        f"{DEFAULT_MODEL}; if it cannot be downloaded, {BUNDLED_MODEL})",
    )
    group.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    group.add_argument(
        "--loaded",
        type=int,
        default=_DEFAULTS.models,
        metavar="N",
        help=f"models that stay in memory (default: {_DEFAULTS.models})",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    """Say how much to take on, and what to keep."""
    group.add_argument(
        "--data", type=Path, metavar="FOLDER", help=f"where songs are kept (default: {_folder()})"
    )
    group.add_argument(
        "--max-upload",
        type=float,
        default=_DEFAULTS.max_upload / 1e6,
        metavar="MB",
        help=f"size of a file (default: {_DEFAULTS.max_upload / 1e6:g})",
    )
    group.add_argument(
        "--max-duration",
        type=float,
        default=_DEFAULTS.max_duration,
        metavar="SECONDS",
        help=f"length of a file (default: {_DEFAULTS.max_duration:g})",
    )
    group.add_argument(
        "--max-jobs",
        type=int,
        default=_DEFAULTS.max_jobs,
        metavar="N",
        help=f"files that may wait (default: {_DEFAULTS.max_jobs})",
    )
    group.add_argument(
        "--max-disk",
        type=float,
        default=_DEFAULTS.max_disk / 1e9,
        metavar="GB",
        help=f"size of all that is kept (default: {_DEFAULTS.max_disk / 1e9:g})",
    )
    group.add_argument(
        "--keep",
        type=float,
        default=_DEFAULTS.retention / _DAY,
        metavar="DAYS",
        help=f"remove results after so long (default: {_DEFAULTS.retention / _DAY:g}; 0: never)",
    )
    group.add_argument("--quiet", action="store_true", help="only errors")


def _folder() -> Path:
    """Return where songs are kept if nothing else is said."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "openunmix" / "serve"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(parser(), run, argv, "results are kept")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal says to stop; return the exit code."""
    settings = _settings(args)
    from openunmix.web.server import Server  # what it needs may be missing

    if not args.quiet:
        logging.getLogger("openunmix.web").setLevel(logging.INFO)
    with _listen(args.host, args.port) as listener, suppress(KeyboardInterrupt):
        server = Server(settings)
        _announce(_address(args.host, listener), settings, args)
        server.run(sockets=[listener])
        return 0 if server.started else 1
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """Return the settings that the arguments ask for."""
    token = args.token or os.environ.get("OPENUNMIX_TOKEN") or None
    if token is not None and (len(token) < _SHORTEST_TOKEN or not token.isascii()):
        raise ValueError(
            f"--token needs at least {_SHORTEST_TOKEN} characters, of ASCII; without the option "
            "a good one is made up"
        )
    local = _is_loopback(args.host)
    if token is None and (not local or args.allow_host):
        token = secrets.token_urlsafe(32)
    return Settings(
        folder=args.data or _folder(),
        model=args.model,
        device=choose_device(args.device),
        token=token,
        hosts=(*LOOPBACK_NAMES, *map(str.lower, args.allow_host or ())) if local else None,
        max_upload=round(args.max_upload * 1e6),
        max_duration=args.max_duration,
        max_jobs=args.max_jobs,
        max_disk=round(args.max_disk * 1e9),
        retention=args.keep * _DAY,
        models=args.loaded,
    )


def _is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port}: ports go from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        # Python adds to the reason what is said here anyway; names that are not found have others.
        known = error.errno is not None and error.errno > 0
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise OSError(
            f"cannot listen on {host}, port {port}: {reason}; choose another --host or "
            "--port (0 takes any that is free)"
        ) from error


def _address(host: str, listener: socket.socket) -> str:
    """Return the address of the server, for browsers."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if host in ("0.0.0.0", "::"):  # all addresses; this machine has a name
        name = socket.gethostname()
    return f"http://{name}:{listener.getsockname()[1]}/"


def _announce(address: str, settings: Settings, args: argparse.Namespace) -> None:
    """Say where the server is; the address alone goes to stdout, for scripts."""
    if settings.hosts is None:
        say(
            _COMMAND,
            f"warning: others can reach this server, as {args.host} is not loopback. They need "
            "the token below; it is sent without encryption unless there is a proxy with TLS",
        )
    shown = settings.token and not (args.token or os.environ.get("OPENUNMIX_TOKEN"))
    page = f"{address}?token={settings.token}" if shown else address
    print(page, flush=True)
    if not args.quiet:
        say(_COMMAND, f"songs are kept in {settings.folder}; Ctrl-C ends the server")
    if args.open:
        webbrowser.open(page)
