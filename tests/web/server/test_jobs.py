"""The queue of ``umx-serve``, what it keeps on disk, and the process that does the work."""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from helpers.song_server import song, wait_for
from helpers.tasks import act, echo
from hypothesis import given
from hypothesis import strategies as st

from openunmix.web.server import store
from openunmix.web.server import tasks as separation
from openunmix.web.server.job import Job, JobProgress, Speeds, State, display_name
from openunmix.web.server.queue import Queue, QueueFullError
from openunmix.web.server.settings import Settings
from openunmix.web.server.store import FolderInUseError, Store
from openunmix.web.server.worker import DiskFullError, TaskError, Worker


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


@pytest.fixture
def worker():
    worker = Worker(echo)
    yield worker
    worker.close()


def make_queue(folder, **settings):
    return Queue(Settings(folder, **settings), lambda model: model, act)


def submit(queue, name="song.wav", **settings):
    """Put a file into a queue; return the id of the job."""
    with queue.upload(0) as path:
        path.write_bytes(song(800))
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


def files(folder):
    """Names of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


# Names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("song.mp3", "song.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Music\\song.mp3", "song.mp3"),
        ("a\x00b\nc\x1b[31m.wav", "a b c [31m.wav"),
        ("abc\u202e3pm.exe", "abc 3pm.exe"),
        ("  two   words .wav", "two words .wav"),
        ("e\u0301tude.wav", "étude.wav"),
        ("", "untitled"),
        ("..", "untitled"),
        ("folder/", "untitled"),
        ('<b>"&.wav', '<b>"&.wav'),
    ],
)
def test_name_of_a_file_is_made_harmless(name, shown):
    assert display_name(name) == shown


@given(st.text(max_size=400))
def test_shown_names_are_one_short_line_of_printable_characters(name):
    shown = display_name(name)
    assert shown
    assert len(shown) <= 120
    assert shown.isprintable()
    assert not set(shown) & set("/\\\n\r\0")
    assert display_name(shown) == shown


def test_long_name_keeps_its_end():
    assert display_name("a" * 300 + ".flac").endswith("aaa.flac")


@pytest.mark.parametrize(
    ("name", "title"),
    [("a.b.flac", "a.b"), ("song.stem.mp4", "song"), (".wav", ".wav"), ("Vol. Two", "Vol. Two")],
)
def test_title_is_the_name_without_extension(name, title):
    assert Job("0" * 32, name).title == title


# Time left


def test_time_left_follows_from_the_speed_so_far():
    now = time.monotonic()
    progress = JobProgress("separating", 30.0, since=now - 10, at=now)
    assert progress.eta(90.0) == pytest.approx(20, abs=0.5)
    assert progress.eta(90.0, Speeds(1.0, 9.0)) == pytest.approx(20 + 10, abs=0.5)


def test_time_left_is_unknown_before_there_was_any_progress():
    assert JobProgress().eta(90.0) is None
    assert JobProgress().eta(90.0, Speeds(9.0, 18.0)) == pytest.approx(10 + 5, abs=0.5)


def test_first_seconds_of_audio_tell_no_speed():
    now = time.monotonic()
    progress = JobProgress("separating", 1.5, since=now - 4, at=now)
    assert progress.eta(300.0) is None
    assert progress.eta(300.0, Speeds(10.0, 100.0)) == pytest.approx(29.85 + 3, abs=0.5)


def test_time_left_of_the_last_stage_is_that_of_an_earlier_job():
    progress = JobProgress("finishing", 90.0)
    assert progress.eta(90.0) is None
    assert progress.eta(90.0, Speeds(9.0, 18.0)) == pytest.approx(5, abs=0.5)


# The store


def test_record_of_a_job_is_read_back(folder):
    job = Job("a" * 32, "ü.wav", "umxs", ("vocals",), True, 12.5, 100)
    assert Job.from_json(job.to_json()) == job
    assert Job.from_json(job.to_json() | {"a key of another version": 1}) == job


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
    assert files(folder) == [f"jobs/{job.id}/job.json"]
    second.close()


def test_unreadable_record_is_left_alone(folder, caplog):
    (folder / "jobs" / ("b" * 32)).mkdir(parents=True)
    (folder / "jobs" / ("b" * 32) / "job.json").write_text("{", "utf-8")
    store = Store(folder)
    assert store.load() == []
    assert "is not a record of a job" in caplog.text
    assert files(folder) == [f"jobs/{'b' * 32}/job.json"]
    store.close()


# The worker


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


def test_worker_that_makes_no_progress_is_given_up(tmp_path):
    worker = Worker(act)
    begun = time.monotonic()
    with pytest.raises(TaskError, match=r"no progress for 0\.5 seconds"):
        worker.run({"folder": str(tmp_path / "work"), "name": "slow"}, timeout=0.5)
    assert time.monotonic() - begun < 20
    worker.close()


# The queue


def test_job_is_done_and_its_results_are_kept(queue, folder):
    job = finished(queue, submit(queue, "short.wav"))
    assert job.state is State.DONE
    assert job.files == {"vocals": "vocals.wav"}
    assert (queue.store.result(job) / "vocals.wav").read_bytes() == b"all of the vocals"
    assert not queue.store.work(job).exists()
    assert job.created <= job.started <= job.finished
    assert Job.from_json(store._read(folder / "jobs" / job.id / "job.json").to_json()) == job


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash", "SIGSEGV"),
        ("memory", "ran out of memory"),
        ("full", "No space left"),
        ("bug", "see the log of the server"),
    ],
)
def test_failure_is_told_and_the_queue_goes_on(queue, name, message):
    bad, good = submit(queue, f"{name}.wav"), submit(queue)
    job = finished(queue, bad)
    assert job.state is State.FAILED
    assert message in job.error
    assert files(queue.store._jobs / bad) == ["job.json"]
    assert not queue.store.upload(job).exists()
    assert finished(queue, good).state is State.DONE


def test_jobs_are_done_in_order(queue):
    ids = [submit(queue, "short.wav") for _ in range(4)]
    positions = [queue.view(job_id).position for job_id in ids[1:]]
    assert positions in ([0, 1, 2], [1, 2, 3])
    jobs = [finished(queue, job_id) for job_id in ids]
    assert all(a.finished <= b.started for a, b in pairwise(jobs))


def test_time_left_of_waiting_jobs_adds_up(queue):
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


@pytest.mark.parametrize("name", ["max_upload", "max_duration", "max_jobs", "max_disk", "models"])
def test_limits_are_positive(folder, name):
    with pytest.raises(ValueError, match=f"{name}=0 must be positive"):
        Settings(folder, **{name: 0})


# What is done in the worker's process


@pytest.fixture
def request_of(tmp_path, tiny_separator):
    """Return a function that makes the request to separate a song with a tiny model."""
    from helpers.models import save_model

    model = save_model(tmp_path / "tiny", tiny_separator())
    (tmp_path / "upload").write_bytes(song(4000))

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


def test_models_used_last_stay_loaded(request_of, tmp_path, monkeypatch):
    monkeypatch.setattr(separation, "_loaded", type(separation._loaded)())
    first = separation._load(request_of())
    assert separation._load(request_of()) is first
    separation._load(request_of(targets=["drums"]))
    assert separation._load(request_of()) is first
    separation._load(request_of(targets=["vocals"]))
    assert len(separation._loaded) == 2
    assert separation._load(request_of()) is first
    assert list(separation._load(request_of(targets=["vocals"])).separator.target_models) == [
        "vocals"
    ]


def test_length_is_limited_while_separating_too(request_of):
    with pytest.raises(ValueError, match=r"longer than the maximum of 0\.1 seconds"):
        separation._limited(lambda **_: None, 0.1)(2.0)


def test_file_is_called_by_its_name_in_messages(request_of, tmp_path):
    (tmp_path / "upload").write_bytes(b"RIFF but no more")
    for task in (separation.inspect, separation.separate):
        with pytest.raises(OSError, match=r"^'my song\.wav' is damaged") as caught:
            task(request_of(), lambda **_: None)
        assert str(tmp_path) not in str(caught.value)


def test_full_disk_is_said_plainly(request_of, monkeypatch):
    from openunmix.errors import AudioFileError

    def full(*_, **__):
        raise AudioFileError("x") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(separation, "separate_file", full)
    with pytest.raises(DiskFullError, match="the disk of the server is full; remove old results"):
        separation.separate(request_of(), lambda **_: None)
