"""The commands. Each is a function that ends the process with its exit code."""

from __future__ import annotations

import os
import sys

__all__ = ["evaluate", "models", "separate", "serve", "train"]


def _share_the_machine() -> None:
    """Let threads that wait for others sleep; call this before torch is imported.

    By default they spin. Beside other programs that keeps the core busy on which the others wait
    to run: separation took several times as long, see ``docs/log.md``.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def separate() -> None:
    """Run ``umx``."""
    _share_the_machine()
    from openunmix.cli import _separate

    sys.exit(_separate.main())


def train() -> None:
    """Run ``umx-train``."""
    _share_the_machine()
    from openunmix.cli import _train

    sys.exit(_train.main())


def evaluate() -> None:
    """Run ``umx-evaluate``."""
    _share_the_machine()
    from openunmix.cli import _evaluate

    sys.exit(_evaluate.main())


def models() -> None:
    """Run ``umx-models``."""
    from openunmix.cli import _models

    sys.exit(_models.main())


def serve() -> None:
    """Run ``umx-serve``."""
    _share_the_machine()
    from openunmix.cli import _serve

    sys.exit(_serve.main())
