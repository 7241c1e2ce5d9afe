"""The temporary folder beside the outputs."""

from __future__ import annotations

import os
import time

import pytest

from openunmix._files import workspace
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
