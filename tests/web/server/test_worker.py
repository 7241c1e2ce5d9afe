"""The process for tasks."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest
from helpers.tasks import act, echo
from helpers.web_server import wait_for

from openunmix.web.server.worker import CrashError, TaskError, Worker


@pytest.fixture
def worker():
    worker = Worker(echo)
    yield worker
    worker.close()


def test_worker_returns_reports_and_results(worker):
    reports = []
    result = worker.run({"a": [1, "ü"]}, reports.append)
    assert result["request"] == {"a": [1, "ü"]}
    assert reports == [{"a": [1, "ü"]}]
    assert result["process"] != os.getpid()


def test_worker_stays_and_is_replaced_when_killed(worker):
    first = worker.run({})["process"]
    assert worker.run({})["process"] == first
    worker.kill()
    wait_for(lambda: not worker._process.is_alive())
    assert worker.run({})["process"] != first


def test_cancelled_task_does_not_begin(worker):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(TaskError, match="cancelled"):
        worker.run({}, cancelled=cancelled)


@pytest.mark.parametrize(("kind", "error"), [("crash", TaskError), ("memory", CrashError)])
def test_file_is_blamed_only_for_crashes_and_only_after_two(tmp_path, kind, error):
    """The worker was killed for lack of memory, and the file was said to be damaged."""
    reasons = []
    worker = Worker(act)
    request = {"folder": str(tmp_path / "work"), "name": kind}
    with pytest.raises(TaskError) as caught:
        worker.run(request, on_retry=lambda reason: (reasons.append(reason), forget(tmp_path)))
    assert type(caught.value) is error
    assert ("file" in str(caught.value)) == (kind == "crash")
    (reason,) = reasons
    assert "file" not in reason
    worker.close()


def forget(folder):
    """Remove what the first attempt has written."""
    shutil.rmtree(folder / "work")


def test_worker_that_makes_no_progress_is_killed(tmp_path):
    worker = Worker(act)
    begun = time.monotonic()
    with pytest.raises(TaskError, match=r"no progress for 0\.5 seconds"):
        worker.run({"folder": str(tmp_path / "work"), "name": "slow"}, timeout=0.5)
    assert time.monotonic() - begun < 20
    worker.close()
