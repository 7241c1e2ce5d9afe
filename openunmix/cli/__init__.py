"""Entry points of the commands; each ends the process with its exit code."""

from __future__ import annotations

import os
import sys

__all__ = ["evaluate", "models", "separate", "serve", "train"]


def _use_passive_waiting() -> None:
    """Make waiting OpenMP threads sleep; effective only before torch is imported.

    By default they spin, which beside other programs slowed separation down several times, see
    ``docs/log.md``.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def separate() -> None:
    """Run ``umx``."""
    _use_passive_waiting()
    from openunmix.cli import _separate

    sys.exit(_separate.main())


def train() -> None:
    """Run ``umx-train``."""
    _use_passive_waiting()
    from openunmix.cli import _train

    sys.exit(_train.main())


def evaluate() -> None:
    """Run ``umx-evaluate``."""
    _use_passive_waiting()
    from openunmix.cli import _evaluate

    sys.exit(_evaluate.main())


def models() -> None:
    """Run ``umx-models``."""
    from openunmix.cli import _models

    sys.exit(_models.main())


def serve() -> None:
    """Run ``umx-serve``."""
    _use_passive_waiting()
    from openunmix.cli import _serve

    sys.exit(_serve.main())
