"""The routes of the API and the pages."""

from __future__ import annotations

import html
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.web_server import detail, finished, kept, send, serving, wait_for, wav_bytes

from openunmix._version import __version__
from openunmix.web.server.settings import Settings


def test_upload_becomes_a_job(server):
    response = send(server, "../a/my song.wav", targets=["drums", "vocals"], model="tiny")
    assert response.status_code == 201
    job = response.json()
    assert response.headers["location"] == f"/api/jobs/{job['id']}"
    assert re.fullmatch("[0-9a-f]{32}", job["id"])
    assert job["name"] == "my song.wav"
    assert job["state"] in ("waiting", "running")
    assert job["duration"] == 0.1
    assert job["targets"] == ["drums", "vocals"]
    assert finished(server, job)["files"] == ["drums", "vocals"]


def test_player_page_is_served_with_a_policy(server, done):
    response = server.get(f"/jobs/{done['id']}/index.html")
    assert response.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "script-src 'sha256-" in html.unescape(response.text)  # the page's own policy
    assert "my song" in response.text
    assert f"../../api/jobs/{done['id']}/files/vocals" in response.text


def test_audio_beside_the_page_is_served_too(quick):
    job = finished(quick, send(quick).json())
    response = quick.get(f"/jobs/{job['id']}/index-audio-0.js")
    assert (response.text, response.headers["x-content-type-options"]) == ("0", "nosniff")
    assert response.headers["content-type"].startswith("text/javascript")


def test_name_of_a_file_is_harmless_everywhere(server):
    name = '<script>alert(1)</script>"; x=".wav'
    job = finished(server, send(server, name).json())
    assert job["name"] == 'script>"; x=".wav'  # what is before a slash is a folder
    for path in ("result.zip", "files/vocals"):
        disposition = server.get(f"/api/jobs/{job['id']}/{path}").headers["content-disposition"]
        assert disposition.isascii()
        assert disposition.count(";") == 1
    page = server.get(f"/jobs/{job['id']}/index.html").text
    assert 'script>"; x=' not in page


def test_health_reports_the_limits(server):
    health = server.get("/api/health").json()
    assert (health["status"], health["version"]) == ("ok", __version__)
    assert health["max_duration"] == 3600
    assert health["disk_used"] >= 0


def test_twenty_uploads_at_once(server):
    with ThreadPoolExecutor(20) as pool:
        responses = list(
            pool.map(
                lambda n: send(server, f"{n}.wav", wav_bytes(400, n), targets="vocals"), range(20)
            )
        )
    assert [response.status_code for response in responses] == [201] * 20
    jobs = [finished(server, response.json()) for response in responses]
    assert [job["name"] for job in jobs] == [f"{n}.wav" for n in range(20)]
    assert all(job["state"] == "done" for job in jobs)
    stems = {server.get(f"/api/jobs/{job['id']}/files/vocals").content for job in jobs}
    assert len(stems) == 20


def test_page_of_the_app_works_without_any_other_server(server):
    response = server.get("/")
    assert "script-src 'self'" in response.headers["content-security-policy"]
    text = response.text
    for name in ("common.css", "app.css", "common.js", "app.js", "icon.svg"):
        assert f"static/{name}" in text
        text += server.get(f"/static/{name}").raise_for_status().text
    assert re.findall(r"\w+://[\w.]+", text) == ["http://www.w3.org"]  # a name, not an address


@pytest.mark.parametrize(
    ("fields", "content", "code", "message"),
    [
        ({}, b"not audio" * 100, 415, "'song.wav' is damaged or not an audio file"),
        ({}, wav_bytes()[:30], 415, "'song.wav' is damaged"),
        ({}, wav_bytes(0), 415, "'song.wav' has no samples"),
        ({}, b"", 422, "the file is empty"),
        ({"model": "umxx"}, wav_bytes(), 422, "no model 'umxx'; choose from tiny, umx"),
        ({"model": "../tiny"}, wav_bytes(), 422, "no model '../tiny'"),
        ({"model": "/"}, wav_bytes(), 422, "no model '/'"),
        ({"targets": "voice"}, wav_bytes(), 422, "choose some of bass, drums, other, vocals"),
        ({"targets": ["bass", "bass"]}, wav_bytes(), 422, "each once"),
        ({"residual": "maybe"}, wav_bytes(), 422, "it can be true or false"),
        ({"target": "bass"}, wav_bytes(), 422, "no field 'target'; there are file, model, targets"),
        ({"model": ["umxs", "umxs"]}, wav_bytes(), 422, "'model' is there twice"),
        ({"model": "x" * 2000}, wav_bytes(), 422, "longer than 1000"),
        ({"targets": ["bass"] * 60}, wav_bytes(), 400, "too many fields"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # which tells when it was made
)
def test_bad_request_is_explained_and_leaves_nothing(server, fields, content, code, message):
    before = kept(server.folder / "data")
    response = send(server, content=content, **fields)
    assert response.status_code == code
    assert message in detail(response)
    assert kept(server.folder / "data") == before


def test_unknown_jobs_stems_and_pages_are_not_found(server, done):
    job = done["id"]
    paths = ["/api/jobs/x", f"/api/jobs/{'0' * 32}/result.zip", f"/api/jobs/{job}/files/upload"]
    paths += [f"/jobs/{job}/job.json", f"/jobs/{'0' * 32}/index.html", "/api/nothing", "/nothing"]
    for path in paths:
        response = server.get(path)
        assert response.status_code == 404
        assert detail(response)


def test_no_path_leads_out_of_a_folder(server, done):
    for path in ("../job.json", "..%2fjob.json", "%2e%2e/upload", "..\\job.json", "/etc/passwd"):
        for base in (f"/jobs/{done['id']}/", f"/api/jobs/{done['id']}/files/", "/static/"):
            host = (server.base_url.host, server.base_url.port)
            with socket.create_connection(host) as raw:
                # A client would have tidied up the path.
                raw.sendall(f"GET {base}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert raw.recv(100).startswith(b"HTTP/1.1 404")


def test_job_is_cancelled_and_removed_with_its_files(quick, tmp_path):
    slow, short = send(quick, "slow.wav").json(), send(quick).json()
    assert quick.delete(f"/api/jobs/{slow['id']}").status_code == 204
    assert finished(quick, short)["state"] == "done"
    assert quick.get(f"/api/jobs/{slow['id']}").status_code == 404
    assert quick.delete(f"/api/jobs/{slow['id']}").status_code == 404
    wait_for(lambda: kept(tmp_path / "data") == [short["id"]])


def test_failed_job_has_a_message(quick):
    job = finished(quick, send(quick, "crash.wav").json())
    assert job["state"] == "failed"
    assert "the file made the program crash" in job["error"]
    assert finished(quick, send(quick).json())["state"] == "done"


def test_track_that_is_too_long_is_refused(tmp_path):
    with serving(Settings(tmp_path / "data", max_duration=0.5)) as client:
        response = send(client, content=wav_bytes(8000))
        assert response.status_code == 422
        assert "'song.wav' is 1 seconds long, the maximum is 0.5" in detail(response)
        assert kept(tmp_path / "data") == []


def test_no_more_files_are_taken_on_than_may_wait(tmp_path):
    with serving(Settings(tmp_path / "data", max_jobs=5)) as client:
        running = send(client, "slow.wav").json()["id"]
        wait_for(lambda: client.get(f"/api/jobs/{running}").json()["state"] == "running")
        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(lambda _: send(client), range(20)))
        codes = [response.status_code for response in responses]
        assert (codes.count(201), codes.count(429)) == (5, 15)
        refused = responses[codes.index(429)]
        assert refused.headers["retry-after"] == "60"
        assert "files are waiting already" in detail(refused)
        client.delete(f"/api/jobs/{running}")
        for job in client.get("/api/jobs").json():
            assert finished(client, job)["state"] == "done"


def test_room_for_results_is_limited(tmp_path):
    with serving(Settings(tmp_path / "data", max_disk=1_000_000)) as client:
        assert send(client, content=wav_bytes(800)).status_code == 201
        response = send(client, content=wav_bytes(40_000))
        assert response.status_code == 507
        assert "the server has room for" in detail(response)
