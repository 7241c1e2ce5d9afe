"""Running ``umx`` as its users do, and looking at what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile

from helpers.sounds import mixture
from openunmix.audio import read_audio
from openunmix.cli._separate import main
from openunmix.predict.marks import MARK_NAME

__all__ = ["TARGETS", "exit_code", "manifest", "song", "total", "tree"]

TARGETS = ("vocals", "drums", "bass", "other")


def exit_code(*arguments):
    """Run the command; return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def song(name="song.wav", waveform=None, sample_rate=8000, subtype="FLOAT"):
    """Write a mixture."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    waveform = mixture(8000) if waveform is None else waveform
    soundfile.write(name, waveform.T.numpy(), sample_rate, subtype)
    return Path(name)


def tree(folder="."):
    """Names of all files below a folder but marks, hidden ones included."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != MARK_NAME)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def total(folder):
    """Sum of the files in a folder."""
    return sum(read_audio(path).waveform for path in sorted(Path(folder).glob("[!.]*")))


def manifest(capsys):
    """Parse what is on stdout."""
    return json.loads(capsys.readouterr().out)
