"""Progress and messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

__all__ = ["Progress", "printable"]


class Progress(AbstractContextManager["Progress"]):
    """Bars in seconds of audio: one for the file, one for all if there are several.

    Parameters
    ----------
    durations : sequence of float
        Seconds of each file, 0 if they cannot be told beforehand.
    quiet : bool
        Draw nothing. Bars are drawn on a terminal only, in any case.
    """

    def __init__(self, durations: Sequence[float], quiet: bool) -> None:
        self._quiet = quiet
        self._stack = ExitStack()
        self._all = self._bar("all files", sum(durations)) if len(durations) > 1 else None
        self._file: Any = None
        self._duration = 0.0
        self._before = 0.0

    def _bar(self, name: str, seconds: float) -> Any:
        """Return a new bar."""
        from tqdm import tqdm

        known = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}]"
        unknown = "{n:.0f} s of audio [{elapsed}]"
        bar = tqdm(
            total=seconds or None,
            desc=printable(name),
            unit="s",
            disable=self._quiet or None,  # None: only on a terminal
            bar_format="{desc}: " + (known if seconds else unknown),
            file=sys.stderr,
            leave=False,
        )
        return self._stack.enter_context(bar)

    def start(self, name: str, duration: float) -> None:
        """Begin with a file of a name and a number of seconds."""
        self._before, self._duration = 0.0, duration
        self._file = self._bar(name, duration)

    def update(self, seconds: float) -> None:
        """Show how many seconds of the file are done."""
        for bar in (self._file, self._all):
            if bar is not None:
                bar.update(seconds - self._before)
        self._before = seconds

    def finish(self) -> None:
        """Be done with a file, however it ended."""
        if self._all is not None:
            self._all.update(max(self._duration - self._before, 0))
        if self._file is not None:
            self._file.close()
            self._file = None

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        from tqdm import tqdm

        tqdm.write(f"umx: {printable(line)}", file=sys.stderr)

    def __exit__(self, *exception: object) -> None:
        """Remove the bars."""
        self._stack.close()


def printable(line: str) -> str:
    """Escape what a file name may hold that would move the cursor or break the line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
