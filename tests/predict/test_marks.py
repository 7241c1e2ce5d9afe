"""Marks beside outputs: what counts as separated."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from openunmix.predict.marks import (
    MARK_NAME,
    describe_input,
    forget_outputs,
    is_done,
    read_mark,
    write_mark,
)

OUTPUTS = ["vocals.wav", "drums.wav"]
SETTINGS = {"niter": 1, "weights": {"vocals": "ab"}}


@pytest.fixture
def place(tmp_path):
    """Return an input, and the folder of its outputs, marked."""
    path, folder = tmp_path / "music" / "caf\udce9.wav", tmp_path / "out" / "song"
    path.parent.mkdir()
    path.write_bytes(b"music")
    folder.mkdir(parents=True)
    for name in OUTPUTS:
        (folder / name).write_bytes(b"stem")
    write_mark(folder, path, describe_input(path, folder), OUTPUTS, SETTINGS, {"peak": 0.5})
    return path, folder


def test_what_is_marked_is_done(place):
    path, folder = place
    assert is_done(folder, path, OUTPUTS, SETTINGS)
    assert is_done(folder, path, OUTPUTS[:1], SETTINGS)
    assert read_mark(folder).made == {"peak": 0.5, "settings": SETTINGS}
    assert os.listdir(folder.parent) == ["song"]


def rewrite(text):
    return lambda path, folder: (folder / MARK_NAME).write_text(text)


CHANGES = {
    "output deleted": lambda path, folder: (folder / "drums.wav").unlink(),
    "output half-written": lambda path, folder: (folder / "drums.wav").write_bytes(b"st"),
    "output is a folder": lambda path, folder: (
        (folder / "drums.wav").unlink(),
        (folder / "drums.wav").mkdir(),
    ),
    "output forgotten": lambda path, folder: forget_outputs(folder, ["drums.wav"]),
    "input longer": lambda path, folder: path.write_bytes(b"music and more"),
    "input of the same length": lambda path, folder: (
        path.write_bytes(b"noise"),
        os.utime(path, ns=(1, 1)),
    ),
    "input gone": lambda path, folder: path.unlink(),
    "mark deleted": lambda path, folder: (folder / MARK_NAME).unlink(),
    "mark cut": rewrite('{"input": "a'),
    "mark of lists": rewrite("[]"),
    "mark without input": rewrite("{}"),
    "mark of something else": rewrite(
        '{"input": 3, "bytes": "x", "modified": [], "outputs": {"a": 1}}'
    ),
    "mark with a zero": rewrite('{"input": "\\u0000", "bytes": 5, "modified": 0}'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_is_not_done(place, change):
    """A run with --skip-existing went by the names of the outputs alone."""
    CHANGES[change](*place)
    path, folder = place
    assert not is_done(folder, path, OUTPUTS, SETTINGS)


@pytest.mark.parametrize(
    "settings", [{}, {**SETTINGS, "niter": 2}, {**SETTINGS, "weights": {"vocals": "cd"}}]
)
def test_other_settings_and_weights_are_another_run(place, settings):
    path, folder = place
    assert not is_done(folder, path, OUTPUTS, settings)


def test_input_that_was_only_touched_or_moved_is_done(place):
    """A backup that was restored has new times, and paths, but the same songs."""
    path, folder = place
    os.utime(path, ns=(1, 1))
    assert is_done(folder, path, OUTPUTS, SETTINGS)
    moved = path.with_name("renamed.wav")
    path.rename(moved)
    assert is_done(folder, moved, OUTPUTS, SETTINGS)
    shutil.move(folder, folder.parent.parent / "elsewhere")
    assert is_done(folder.parent.parent / "elsewhere", moved, OUTPUTS, SETTINGS)


def test_outputs_of_other_runs_stay_done_until_the_input_changes(place):
    path, folder = place
    (folder / "vocals.flac").write_bytes(b"flac")
    flac = {**SETTINGS, "extension": ".flac"}
    write_mark(folder, path, describe_input(path, folder), ["vocals.flac"], flac, {})
    assert is_done(folder, path, OUTPUTS, SETTINGS)
    assert is_done(folder, path, ["vocals.flac"], flac)
    path.write_bytes(b"another song")
    write_mark(folder, path, describe_input(path, folder), ["vocals.flac"], flac, {})
    assert not is_done(folder, path, OUTPUTS, SETTINGS)


def test_input_that_changes_while_it_is_read_is_not_marked(place):
    path, folder = place
    before = describe_input(path, folder)
    path.write_bytes(b"recorded on")
    with pytest.raises(OSError, match="changed while it was separated"):
        write_mark(folder, path, before, OUTPUTS, SETTINGS, {})
    assert json.loads((folder / MARK_NAME).read_text())["bytes"] == 5
