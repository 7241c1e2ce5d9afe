"""The queue, with a stand-in for the separation."""

from __future__ import annotations

import errno
import secrets
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from helpers.tasks import act
from helpers.web_server import file_names, wait_for, wav_bytes

from openunmix.web.server import store
from openunmix.web.server.job import Job, Speeds, State
from openunmix.web.server.queue import Queue, QueueFullError
from openunmix.web.server.settings import Settings
from openunmix.web.server.worker import DiskFullError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def queue(folder):
    """Return a queue that works."""
    queue = make_queue(folder)
    queue.start()
    yield queue
    queue.stop()


def make_queue(folder, **settings):
    return Queue(Settings(folder, **settings), lambda model: model, act)


def submit(queue, name="song.wav", **settings):
    """Put a file into a queue; return the id of the job."""
    with queue.upload(0) as path:
        path.write_bytes(wav_bytes(800))
        job = Job(secrets.token_hex(16), name, duration=1.0, **settings)
        return queue.submit(path, job).job.id


def finished(queue, job_id):
    """Wait for the end of a job and return it."""
    return wait_for(
        lambda: (job := queue.view(job_id).job).state in (State.DONE, State.FAILED) and job
    )


def running(queue, job_id):
    """Wait until a job has begun to write, and return its state as of then."""
    return wait_for(
        lambda: (view := queue.view(job_id)).progress and view.progress.seconds and view
    )


def test_job_is_done_and_its_results_are_kept(queue, folder):
    job = finished(queue, submit(queue, "short.wav"))
    assert job.state is State.DONE
    assert job.files == {"vocals": "vocals.wav"}
    assert (queue.store.result(job) / "vocals.wav").read_bytes() == b"all of the vocals"
    assert not queue.store.work(job).exists()
    assert job.created <= job.started <= job.finished
    assert store._read(folder / "jobs" / job.id / "job.json") == job


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash", "the file made the program crash twice (SIGSEGV); it may be damaged"),
        ("memory", "killed the separation (SIGKILL), most likely as it ran out of memory"),
        ("ended", "the separation was ended by SIGTERM, also at a second attempt"),
        ("allocation", "the memory of the server does not suffice"),
        ("full", "No space left"),
        ("bug", "see the log of the server"),
    ],
)
def test_failure_is_reported_and_the_queue_continues(queue, name, message):
    bad, good = submit(queue, f"{name}.wav"), submit(queue)
    job = finished(queue, bad)
    assert job.state is State.FAILED
    assert message in job.error
    assert file_names(queue.store._jobs / bad) == ["job.json"]
    assert not queue.store.upload(job).exists()
    assert finished(queue, good).state is State.DONE


def test_job_whose_process_ended_is_tried_again(queue, caplog):
    """A file was blamed for a crash that had another reason; it was separated at once later."""
    job = finished(queue, submit(queue, "once.wav"))
    assert (job.state, job.error) == (State.DONE, "")
    assert (queue.store.result(job) / "vocals.wav").read_bytes() == b"all of the vocals"
    assert "the separation was ended by SIGSEGV; trying again" in caplog.text


def test_jobs_are_done_in_order(queue):
    ids = [submit(queue, "short.wav") for _ in range(4)]
    positions = [queue.view(job_id).position for job_id in ids[1:]]
    assert positions in ([0, 1, 2], [1, 2, 3])
    jobs = [finished(queue, job_id) for job_id in ids]
    assert all(a.finished <= b.started for a, b in pairwise(jobs))


def test_eta_of_waiting_jobs_adds_up(queue):
    finished(queue, submit(queue, "short.wav"))
    queue._speeds[None] = Speeds(1 / 8, 1 / 2)  # ten seconds for each
    submit(queue, "slow.wav")
    ids = [submit(queue) for _ in range(2)]
    first, second = (queue.view(job_id).eta for job_id in ids)
    assert second - first == pytest.approx(10, abs=0.5)


def test_waiting_job_can_be_removed(queue, folder):
    slow, waiting = submit(queue, "slow.wav"), submit(queue)
    assert queue.remove(waiting)
    assert queue.view(waiting) is None
    assert not (folder / "jobs" / waiting).exists()
    assert not queue.remove(waiting)
    queue.remove(slow)


def test_running_job_ends_at_once_when_it_is_removed(queue, folder):
    slow = submit(queue, "slow.wav")
    running(queue, slow)
    begun = time.monotonic()
    queue.remove(slow)
    assert finished(queue, submit(queue)).state is State.DONE
    assert time.monotonic() - begun < 20
    assert not (folder / "jobs" / slow).exists()


def test_finished_job_can_be_removed(queue, folder):
    job = finished(queue, submit(queue))
    assert queue.remove(job.id)
    assert list((folder / "jobs").iterdir()) == []


def test_clean_end_puts_the_running_job_back(folder):
    queue = make_queue(folder)
    queue.start()
    slow, waiting = submit(queue, "slow.wav"), submit(queue)
    running(queue, slow)
    queue.stop()
    again = make_queue(folder)
    jobs = again.store.load()
    assert [(job.id, job.state) for job in jobs] == [
        (slow, State.WAITING),
        (waiting, State.WAITING),
    ]
    assert not again.store.work(jobs[0]).exists()
    assert again.store.upload(jobs[0]).exists()
    again.store.close()


def test_restart_keeps_results_and_calls_interrupted_jobs_so(folder):
    queue = make_queue(folder)
    queue.start()
    done = finished(queue, submit(queue))
    queue.stop()
    cut = replace(done, id="c" * 32, state=State.RUNNING, result={}, created=done.created + 1)
    with queue.store.incoming() as path:
        path.write_bytes(b"song")
        queue.store.admit(path, cut)
    again = make_queue(folder)
    again.start()
    views = again.views()
    again.stop()
    assert views[0].job == done
    assert (again.store.result(done) / "vocals.wav").exists()
    assert views[1].job.state is State.FAILED
    assert "interrupted" in views[1].job.error


def test_number_of_waiting_files_is_limited(folder):
    queue = make_queue(folder, max_jobs=2)
    submit(queue)
    with queue.upload(0), pytest.raises(QueueFullError, match="2 files are waiting"):
        submit(queue)
    submit(queue)
    with pytest.raises(QueueFullError):
        submit(queue)
    queue.store.close()


def test_room_on_the_disk_is_limited_with_what_waiting_jobs_will_need(folder):
    queue = make_queue(folder, max_disk=1_000_000)
    submit(queue, size=600_000)
    with pytest.raises(DiskFullError, match="remove old"):
        submit(queue, size=600_000)
    with pytest.raises(DiskFullError, match="this needs 2 MB"), queue.upload(2_000_000):
        pass
    assert len(list((folder / "jobs").iterdir())) == 1
    queue.store.close()


def test_a_nearly_full_disk_takes_nothing(folder, monkeypatch):
    queue = make_queue(folder)
    monkeypatch.setattr(queue.store, "free", lambda: 1000)
    with pytest.raises(DiskFullError, match="room for 0 MB"), queue.upload(2000):
        pass
    queue.store.close()


def test_results_that_cannot_be_recorded_are_not_offered(queue, monkeypatch):
    job_id = submit(queue, "short.wav")
    running(queue, job_id)

    def full(path, job):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_write", full)
    job = finished(queue, job_id)
    assert job.state is State.FAILED
    assert "No space left on device" in job.error
    assert not queue.store.result(job).exists()
    monkeypatch.undo()
    assert finished(queue, submit(queue)).state is State.DONE


def test_old_results_are_removed_and_waiting_jobs_are_not(folder):
    queue = make_queue(folder, retention=100.0)
    queue.start()
    old = finished(queue, submit(queue))
    queue.remove_expired(old.finished + 99)
    assert queue.view(old.id)
    queue.remove_expired(old.finished + 101)
    assert queue.view(old.id) is None
    slow, waiting = submit(queue, "slow.wav"), submit(queue)
    queue.remove_expired(time.time() + 1e6)
    assert queue.view(slow)
    assert queue.view(waiting)
    queue.stop()


def test_results_are_kept_for_ever_on_request(folder):
    queue = make_queue(folder, retention=0.0)
    assert queue.expiry(Job("0" * 32, "a", finished=1.0)) is None
    queue.store.close()
