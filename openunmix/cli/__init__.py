"""The commands. Each is a function that ends the process with its exit code."""

from __future__ import annotations

import sys

__all__ = ["evaluate", "models", "separate", "serve", "train"]


def separate() -> None:
    """Run ``umx``."""
    from openunmix.cli import _separate

    sys.exit(_separate.main())


def train() -> None:
    """Run ``umx-train``."""
    from openunmix.cli import _train

    sys.exit(_train.main())


def evaluate() -> None:
    """Run ``umx-evaluate``."""
    from openunmix.cli import _evaluate

    sys.exit(_evaluate.main())


def models() -> None:
    """Run ``umx-models``."""
    from openunmix.cli import _models

    sys.exit(_models.main())


def serve() -> None:
    """Run ``umx-serve``."""
    from openunmix.cli import _serve

    sys.exit(_serve.main())
