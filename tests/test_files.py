"""The temporary folder beside the outputs."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from openunmix._files import replace_all, workspace
from openunmix.errors import AudioFileError


def abandon(folder, hours):
    """Leave a temporary folder as a process that was killed does, some hours ago."""
    (folder / "0.wav").parent.mkdir()
    (folder / "0.wav").write_bytes(b"RIFF")
    then = time.time() - 3600 * hours
    for path in (folder / "0.wav", folder):
        os.utime(path, (then, then))


def test_it_is_on_the_disk_of_the_outputs_and_goes_whatever_happens(tmp_path):
    with workspace(tmp_path / "new" / "song") as work:
        assert work.parent == tmp_path
        (work / "0.wav").touch()
    (tmp_path / "song").mkdir()
    with pytest.raises(RuntimeError), workspace(tmp_path / "song"):
        raise RuntimeError
    assert list(tmp_path.rglob("*")) == [tmp_path / "song"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    """SIGKILL left a hidden folder of gigabytes for good."""
    abandon(tmp_path / ".umx-killed.part", hours=25)
    with workspace(tmp_path / "song"):
        assert not (tmp_path / ".umx-killed.part").exists()


def test_what_may_be_in_use_or_is_not_ours_stays(tmp_path):
    abandon(tmp_path / ".umx-running.part", hours=1)
    abandon(tmp_path / ".umx-slow.part", hours=25)
    (tmp_path / ".umx-slow.part" / "1.wav").touch()
    abandon(tmp_path / "umx-mine.part", hours=25)
    (tmp_path / "target").mkdir()
    (tmp_path / ".umx-link.part").symlink_to(tmp_path / "target")
    (tmp_path / ".umx-file.part").touch()
    before = sorted(tmp_path.rglob("*"))
    with workspace(tmp_path / "song"):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    place = workspace(tmp_path / "file" / "song")
    with pytest.raises(AudioFileError, match="file/song' cannot be written"), place:
        pass


@pytest.mark.parametrize("below", ["", "song"])
def test_broken_link_is_found_before_any_work(tmp_path, below):
    """Someone's external disk was not there, and the link to it was the output folder."""
    (tmp_path / "stems").symlink_to(tmp_path / "missing disk")
    place = workspace(tmp_path / "stems" / below)
    with pytest.raises(AudioFileError, match="stems' is a broken link"), place:
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "stems"]


def test_name_that_the_disk_does_not_take_is_found_before_any_work(tmp_path):
    place = workspace(tmp_path / "new" / ".." / (300 * "x"))
    with pytest.raises(AudioFileError, match="File name too long"), place:
        pass
    assert list(tmp_path.iterdir()) == []


def test_signal_during_the_clean_up_does_not_stop_it(tmp_path, monkeypatch):
    """Ctrl-C arrived while the temporary folder was being removed."""
    remove, calls = shutil.rmtree, []

    def interrupted(path, **options):
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), workspace(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
@pytest.mark.parametrize("failing", range(5))
def test_files_are_replaced_all_or_none(tmp_path, monkeypatch, failing, error):
    """The third stem could not be replaced, and the first two were new, the others old."""
    for name in ("0", "1"):  # of the third there is no older one
        (tmp_path / name).write_text("old")
    (tmp_path / "work").mkdir()
    new = {tmp_path / name: tmp_path / "work" / name for name in ("0", "1", "2")}
    for temporary in new.values():
        temporary.write_text("new")
    replace, calls = os.replace, []

    def fail_once(source, target):
        calls.append(source)
        if len(calls) == failing + 1:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_once)
    with pytest.raises(error):
        replace_all(new, tmp_path / "work")
    texts = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert texts == {"0": "old", "1": "old"}
