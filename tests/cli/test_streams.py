"""Standard streams of the commands: closed, full, left by their reader, of another encoding."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from helpers.commands import TARGETS, song, tree

from openunmix.cli import _models

pytestmark = pytest.mark.usefixtures("work_folder")

DONE = sorted(f"song_tiny/{name}.wav" for name in TARGETS)


def left_pipe():
    """A stream whose reader has left, as that of ``| true``."""
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


def full_disk():
    """A stream to a full disk."""
    return open("/dev/full", "w", encoding="utf-8")


def python_closed():
    """A stream that Python has closed."""
    stream = io.StringIO()
    stream.close()
    return stream


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")


@pytest.fixture
def replace(monkeypatch):
    """Return a function that replaces a standard stream; close them at the end."""
    with ExitStack() as stack:

        def replace(name, stream):
            monkeypatch.setattr(sys, name, stream)
            if stream is not None:
                stack.callback(stream.close)

        yield replace


@pytest.mark.parametrize(
    "make",
    [lambda: None, left_pipe, python_closed, pytest.param(full_disk, marks=needs_full)],
)
def test_messages_that_nobody_can_read_cost_no_separation(umx, make, replace):
    """With ``2>&-``, or without a console, nothing was separated: tqdm failed."""
    song()
    replace("stderr", make())
    assert umx("song.wav", "missing.wav") == 1
    assert umx("song.wav") == 0
    assert umx("--niter", "none") == 2
    assert set(DONE) <= set(tree())


@pytest.mark.parametrize(
    ("make", "code"),
    [
        *((lambda: None, 1), (left_pipe, 0), (python_closed, 1)),
        pytest.param(full_disk, 1, marks=needs_full),
    ],
)
@pytest.mark.parametrize("command", ["umx --json", "umx --help", "umx-models"])
def test_the_exit_code_is_1_if_results_on_stdout_are_lost(
    umx, make, code, command, replace, capsys
):
    """``--json >&-`` ended in a traceback, ``--json | true`` in "Broken pipe"."""
    song()
    replace("stdout", make())
    if command == "umx-models":
        with ExitStack() as stack:
            if code:
                stack.enter_context(pytest.raises(SystemExit, match="1"))
            assert _models.main(["list"]) == code
    else:
        assert umx("song.wav", "--quiet", command.removeprefix("umx ")) == code
    errors = capsys.readouterr().err
    assert errors.count("standard output cannot be written") == errors.count("\n") == code
    assert command != "umx --json" or set(DONE) <= set(tree())


def test_separation_alone_needs_no_stdout(umx, replace):
    song()
    replace("stdout", None)
    replace("stdin", None)
    assert umx("song.wav") == 0


def test_a_terminal_that_cannot_encode_a_name_gets_escape_sequences(umx, replace):
    """In the locale C, "é" in a manifest or in the name of a song is no reason to fail."""
    name = "é☃ \udce9.wav"
    os.rename(song(), name)
    for stream in ("stdout", "stderr"):
        replace(stream, io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict"))
    assert umx(name, "--json") == 0
    printed = sys.stderr.buffer.getvalue()
    assert rb"\xe9\u2603 \udce9.wav: 1 s in" in printed
    assert rb"\u2603 \udce9.wav" in sys.stdout.buffer.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="there, streams have no numbers")
def test_closed_streams_give_their_numbers_to_no_file():
    """A library that writes to number 2 must not write into a stem."""
    script = "from openunmix.cli import _streams; _streams.open_closed_streams(); "
    script += "raise SystemExit(open('new', 'wb').fileno())"
    command = f'"$0" -c "{script}" <&- >&- 2>&-'
    ended = subprocess.run(["sh", "-c", command, sys.executable], check=False)
    assert ended.returncode == 3
