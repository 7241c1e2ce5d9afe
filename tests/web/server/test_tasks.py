"""Tasks, run in the process of the test."""

from __future__ import annotations

import errno

import pytest
from helpers.models import save_model
from helpers.web_server import wav_bytes

from openunmix.errors import AudioFileError
from openunmix.web.server import tasks
from openunmix.web.server.worker import DiskFullError


@pytest.fixture
def request_of(tmp_path, tiny_separator):
    """Return a function that makes the request to separate a track with a tiny model."""
    model = save_model(tmp_path / "tiny", tiny_separator())
    (tmp_path / "upload").write_bytes(wav_bytes(4000))

    def make(**changes):
        return {
            "upload": str(tmp_path / "upload"),
            "name": "my song.wav",
            "title": "my song",
            "folder": str(tmp_path / "work"),
            "model": str(model),
            "targets": [],
            "residual": False,
            "device": "cpu",
            "models": 2,
            "max_duration": 10.0,
            "files_url": "files/",
        } | changes

    return make


def test_most_recently_used_models_stay_loaded(request_of, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "_loaded", type(tasks._loaded)())
    first = tasks._load(request_of())
    assert tasks._load(request_of()) is first
    tasks._load(request_of(targets=["drums"]))
    assert tasks._load(request_of()) is first
    tasks._load(request_of(targets=["vocals"]))
    assert len(tasks._loaded) == 2
    assert tasks._load(request_of()) is first
    _, separator = tasks._load(request_of(targets=["vocals"]))
    assert list(separator.target_models) == ["vocals"]


def test_length_is_limited_while_separating_too(request_of):
    with pytest.raises(ValueError, match=r"longer than the maximum of 0\.1 seconds"):
        tasks._limited(lambda **_: None, 0.1)(2.0)


def test_file_is_called_by_its_name_in_messages(request_of, tmp_path):
    (tmp_path / "upload").write_bytes(b"RIFF but no more")
    for task in (tasks.inspect, tasks.separate):
        with pytest.raises(OSError, match=r"^'my song\.wav' is damaged") as caught:
            task(request_of(), lambda **_: None)
        assert str(tmp_path) not in str(caught.value)


def test_full_disk_is_reported(request_of, monkeypatch):
    def full(*_, **__):
        raise AudioFileError("x") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tasks, "separate_file", full)
    with pytest.raises(DiskFullError, match="the disk of the server is full; remove old results"):
        tasks.separate(request_of(), lambda **_: None)
