"""Entry points of the commands; each ends the process with its exit code."""

from __future__ import annotations

import os
import sys

from openunmix.cli._streams import open_closed_streams
from openunmix.errors import MissingExtraError

__all__ = ["catalogue", "evaluate", "models", "separate", "serve", "train"]


def _prepare() -> None:
    """Prepare the process, before torch is imported.

    By default waiting OpenMP threads spin, which beside other programs slowed separation down
    several times, see ``docs/log.md``; made passive, they sleep.
    """
    open_closed_streams()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def separate() -> None:
    """Run ``umx``."""
    _prepare()
    from openunmix.cli import _separate

    sys.exit(_separate.main())


def train() -> None:
    """Run ``umx-train``."""
    _prepare()
    from openunmix.cli import _train

    sys.exit(_train.main())


def evaluate() -> None:
    """Run ``umx-evaluate``."""
    _prepare()
    from openunmix.cli import _evaluate

    sys.exit(_evaluate.main())


def models() -> None:
    """Run ``umx-models``."""
    _prepare()
    from openunmix.cli import _models

    sys.exit(_models.main())


def serve() -> None:
    """Run ``umx-serve``."""
    _prepare()
    try:
        from openunmix.cli import _serve
    except MissingExtraError as error:
        sys.exit(f"umx-serve: {error}")
    sys.exit(_serve.main())


def catalogue() -> None:
    """Run ``umx-catalogue``."""
    _prepare()
    from openunmix.cli import _catalogue

    sys.exit(_catalogue.main())
