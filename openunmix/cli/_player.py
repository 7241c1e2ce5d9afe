"""The player page that `umx --player` writes beside the stems of a track."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import quote

from openunmix._version import __version__
from openunmix.audio import AudioSource
from openunmix.cli._paths import track_name
from openunmix.predict.files import FileResult
from openunmix.pretrained import ResolvedModel
from openunmix.web import write_page

__all__ = ["write_player"]


def write_player(
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
            "Settings": _settings(args),
            "Made with": f"Open-Unmix {__version__}",
        },
        downloads={name: quote(path.name) for name, path in result.outputs.items()},
    )


def _settings(args: argparse.Namespace) -> str:
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
