"""Standard streams that are closed, full, left by their reader, or unable to encode a name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


def open_closed_streams() -> dict[str, Any]:
    """Open closed standard streams, so that no file of the user gets their numbers.

    As in GNU programs they are open for the wrong direction: using them remains an error.
    Returns what they were: None, or closed by Python.
    """
    closed = {}
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            closed[name] = stream
            # The lowest number that is free.
            number = os.open(os.devnull, os.O_WRONLY if name == "stdin" else os.O_RDONLY)
            os.set_inheritable(number, number <= 2)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 - stays open
    return closed


class _Output:
    """A text stream that keeps its first error, and discards what is written after it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; characters that the stream cannot encode become escape sequences."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with self._keeping_errors():
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._keeping_errors():
            self._stream.flush()

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        """Keep an error; that the reader has left, as ``head`` does, is none."""
        try:
            yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.error = self.error or error
            # What is still buffered would raise again when Python ends.
            with open(os.devnull, "w") as nowhere, suppress(OSError):
                os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def standard_streams(command: str) -> Iterator[None]:
    """Keep errors of stdout and stderr from a command.

    Messages that cannot be written are lost. If results on stdout are, the command ends with 1.
    """
    closed = open_closed_streams()
    before = sys.stdout, sys.stderr
    results, messages = _Output(sys.stdout), _Output(sys.stderr)
    sys.stdout, sys.stderr = results, messages
    try:
        yield
    finally:
        results.flush()
        if results.error is not None:
            reason = results.error.strerror or results.error
            print(f"{command}: standard output cannot be written: {reason}", file=sys.stderr)
        messages.flush()
        sys.stdout, sys.stderr = before
        for name, stream in closed.items():
            with suppress(OSError):
                getattr(sys, name).close()
            setattr(sys, name, stream)
    if results.error is not None:
        sys.exit(1)
