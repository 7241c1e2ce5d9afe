"""The command ``umx-serve``: separate songs in a browser."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import secrets
import signal
import socket
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from openunmix._signals import ending_signals
from openunmix._version import __version__
from openunmix.cli._options import choose_device, run_command, say
from openunmix.pretrained.registry import BUNDLED_MODEL, DEFAULT_MODEL
from openunmix.web.server.settings import LOOPBACK_NAMES, Settings

_COMMAND = "umx-serve"

_DAY = 86400.0

_MIN_TOKEN = 16  # characters; random tokens have 43

_DEFAULTS = Settings(Path())


def parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=_COMMAND,
        description="Separate songs in a browser. By default, only this machine can use it.",
    )
    parser.add_argument("--version", action="version", version=f"Open-Unmix {__version__}")
    _add_network_options(parser.add_argument_group("network"))
    _add_separation_options(parser.add_argument_group("separation"))
    _add_limits(parser.add_argument_group("limits"))
    return parser


def _add_network_options(group: argparse._ArgumentGroup) -> None:
    """Add address, token and names."""
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, which only this machine can reach)",
    )
    group.add_argument(
        "--port", type=int, default=8765, help="port (default: 8765; 0: any free one)"
    )
    group.add_argument(
        "--token",
        help="token that clients must send; required, and generated if missing, where others can "
        "reach the server (default: $OPENUNMIX_TOKEN)",
    )
    group.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        help="another host name of this server, as behind a proxy; can be repeated",
    )
    group.add_argument("--open", action="store_true", help="open the page in a browser")


def _add_separation_options(group: argparse._ArgumentGroup) -> None:
    """Add model and device."""
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
    """Add the folder and its limits."""
    group.add_argument(
        "--data", type=Path, metavar="FOLDER", help=f"uploads and results (default: {_folder()})"
    )
    for option, kind, default, unit, text in (
        ("--max-upload", float, _DEFAULTS.max_upload / 1e6, "MB", "maximum size of a file"),
        ("--max-duration", float, _DEFAULTS.max_duration, "SECONDS", "maximum length of a file"),
        ("--max-jobs", int, _DEFAULTS.max_jobs, "N", "maximum number of files in the queue"),
        ("--max-disk", float, _DEFAULTS.max_disk / 1e9, "GB", "maximum size of the folder"),
        ("--keep", float, _DEFAULTS.retention / _DAY, "DAYS", "remove results after; 0: never"),
    ):
        group.add_argument(
            option, type=kind, default=default, metavar=unit, help=f"{text} (default: {default:g})"
        )
    group.add_argument("--quiet", action="store_true", help="only errors")


def _folder() -> Path:
    """Default of --data."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "openunmix" / "serve"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run_command(parser(), run, argv, "results are kept")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal arrives; return the exit code."""
    settings = _settings(args)
    from openunmix.web.server import Server  # needs the extra

    if not args.quiet:
        logging.getLogger("openunmix.web").setLevel(logging.INFO)
    with _listen(args.host, args.port) as listener, suppress(KeyboardInterrupt):
        server = Server(settings)
        _announce(_address(args.host, listener), settings, args)
        for number in ending_signals():  # SIGHUP, too, which uvicorn does not handle
            signal.signal(number, server.handle_exit)
        server.run(sockets=[listener])
        return 0 if server.started else 1
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """Return the settings of the arguments."""
    token = args.token or os.environ.get("OPENUNMIX_TOKEN") or None
    if token is not None and (len(token) < _MIN_TOKEN or not token.isascii()):
        raise ValueError(
            f"--token needs at least {_MIN_TOKEN} ASCII characters; without the option, a random "
            "one is generated"
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
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket to listen on."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port}: ports go from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        # Python adds the address to strerror; failed look-ups have negative numbers and own texts.
        known = error.errno is not None and error.errno > 0
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise OSError(
            f"cannot listen on {host}, port {port}: {reason}; choose another --host or "
            "--port (0: any free one)"
        ) from error


def _address(host: str, listener: socket.socket) -> str:
    """URL of the server."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if host in ("0.0.0.0", "::"):  # all interfaces
        name = socket.gethostname()
    return f"http://{name}:{listener.getsockname()[1]}/"


def _announce(address: str, settings: Settings, args: argparse.Namespace) -> None:
    """Report where the server is; on stdout only the URL, for scripts."""
    if settings.hosts is None:
        say(
            _COMMAND,
            f"warning: others can reach this server, as {args.host} is not loopback. They need "
            "the token below, which is sent unencrypted unless a proxy adds TLS",
        )
    shown = settings.token and not (args.token or os.environ.get("OPENUNMIX_TOKEN"))
    page = f"{address}?token={settings.token}" if shown else address
    print(page, flush=True)
    if not args.quiet:
        say(_COMMAND, f"uploads and results are in {settings.folder}; press Ctrl-C to stop")
    if args.open:
        webbrowser.open(page)
