"""The folder of a server."""

from __future__ import annotations

import pytest
from helpers.web_server import file_names

from openunmix.web.server.job import Job, State
from openunmix.web.server.store import FolderInUseError, Store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def test_folder_is_for_one_server_alone(folder):
    first = Store(folder)
    with pytest.raises(FolderInUseError, match="in use by another umx-serve"):
        Store(folder)
    first.close()
    Store(folder).close()


def test_folder_is_closed_to_other_users(folder):
    Store(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_a_kill_left_is_removed_at_the_next_start(folder):
    first = Store(folder)
    job = Job("a" * 32, "song.wav", state=State.RUNNING)
    with first.incoming() as path:
        path.write_bytes(b"song")
        first.admit(path, job)
    for path in ("work/vocals.wav", "result/vocals.wav"):
        path = folder / "jobs" / job.id / path
        path.parent.mkdir()
        path.write_bytes(b"half")
    (folder / "jobs" / ".0123").mkdir()
    (folder / "jobs" / ".0123" / "upload").write_bytes(b"half")
    first.close()
    second = Store(folder)
    assert second.load() == [job]
    assert file_names(folder) == [f"jobs/{job.id}/job.json"]
    second.close()


def test_unreadable_record_is_left_alone(folder, caplog):
    (folder / "jobs" / ("b" * 32)).mkdir(parents=True)
    (folder / "jobs" / ("b" * 32) / "job.json").write_text("{", "utf-8")
    store = Store(folder)
    assert store.load() == []
    assert "is not a record of a job" in caplog.text
    assert file_names(folder) == [f"jobs/{'b' * 32}/job.json"]
    store.close()
