"""Server-sent events."""

from __future__ import annotations

import json

import httpx
from helpers.web_server import finished, send, serving

from openunmix.web.server.settings import Settings


def events(lines):
    """Yield events of a stream as (name, content)."""
    name = None
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_events_report_all_changes_of_a_job(quick):
    with quick.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        reported = events(stream.iter_lines())
        assert next(reported) == ("jobs", [])
        job = send(quick, "short.wav").json()
        states = []
        for name, content in reported:
            assert (name, content["id"]) == ("job", job["id"])
            states.append(content["state"])
            if content["state"] == "done":
                break
        assert states == sorted(states, key=["waiting", "running", "done"].index)
        assert len(states) > 1
        quick.delete(f"/api/jobs/{job['id']}")
        assert next(reported) == ("removed", {"id": job["id"]})


def test_events_begin_with_all_jobs_after_a_reconnection(quick):
    job = finished(quick, send(quick).json())
    with quick.stream("GET", "/api/events") as stream:
        assert next(events(stream.iter_lines())) == ("jobs", [job])


def test_open_event_stream_does_not_keep_the_server_running(tmp_path):
    with (
        serving(Settings(tmp_path / "data")) as client,
        httpx.Client(base_url=client.base_url, trust_env=False) as other,
        other.stream("GET", "/api/events") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: jobs"
