"""A job: its name, its progress and its record."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from openunmix.web.server.job import Job, JobProgress, Speeds, display_name


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


def test_eta_follows_from_the_speed_so_far():
    now = time.monotonic()
    progress = JobProgress("separating", 30.0, since=now - 10, at=now)
    assert progress.eta(90.0) == pytest.approx(20, abs=0.5)
    assert progress.eta(90.0, Speeds(1.0, 9.0)) == pytest.approx(20 + 10, abs=0.5)


def test_eta_is_unknown_before_there_was_any_progress():
    assert JobProgress().eta(90.0) is None
    assert JobProgress().eta(90.0, Speeds(9.0, 18.0)) == pytest.approx(10 + 5, abs=0.5)


def test_speed_of_the_first_seconds_is_ignored():
    now = time.monotonic()
    progress = JobProgress("separating", 1.5, since=now - 4, at=now)
    assert progress.eta(300.0) is None
    assert progress.eta(300.0, Speeds(10.0, 100.0)) == pytest.approx(29.85 + 3, abs=0.5)


def test_eta_of_the_last_stage_is_that_of_an_earlier_job():
    progress = JobProgress("finishing", 90.0)
    assert progress.eta(90.0) is None
    assert progress.eta(90.0, Speeds(9.0, 18.0)) == pytest.approx(5, abs=0.5)


def test_record_of_a_job_is_read_back():
    job = Job("a" * 32, "ü.wav", "umxs", ("vocals",), True, 12.5, 100)
    record = TypeAdapter(Job)
    content = record.dump_python(job, mode="json")
    assert record.validate_python(content) == job
    assert record.validate_python(content | {"a key of another version": 1}) == job
