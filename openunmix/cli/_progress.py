"""Progress and messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any


class Progress(AbstractContextManager["Progress"]):
    """Progress bars in seconds of audio: of the current file, and of all if there are several.

    Durations are 0 while unknown. Bars are only drawn on a terminal, and not if ``quiet``.
    """

    def __init__(self, durations: Sequence[float], quiet: bool) -> None:
        self._quiet = quiet
        self._stack = ExitStack()
        self._all = self._bar("all files", sum(durations), hidden=len(durations) < 2)

    def _bar(self, name: str, seconds: float, hidden: bool = False) -> Any:
        """Add a bar."""
        from tqdm import tqdm

        known = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}]"
        unknown = "{n:.0f} s of audio [{elapsed}]"
        bar = tqdm(
            total=seconds or None,
            desc=printable(name),
            unit="s",
            disable=self._quiet or hidden or None,  # None: only on a terminal
            bar_format="{desc}: " + (known if seconds else unknown),
            file=sys.stderr,
            leave=False,
        )
        return self._stack.enter_context(bar)

    def start(self, name: str, duration: float) -> None:
        """Start a file."""
        self._before, self._duration = 0.0, duration
        self._file = self._bar(name, duration)

    def update(self, seconds: float) -> None:
        """Update the seconds of the current file that are done."""
        for bar in (self._file, self._all):
            bar.update(seconds - self._before)
        self._before = seconds

    def finish(self) -> None:
        """Finish the current file, successful or not."""
        self._all.update(max(self._duration - self._before, 0))
        self._file.close()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        from tqdm import tqdm

        tqdm.write(f"umx: {printable(line)}", file=sys.stderr)

    def __exit__(self, *exception: object) -> None:
        """Remove the bars."""
        self._stack.close()


def printable(line: str) -> str:
    """Escape control characters, which file names may contain."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
