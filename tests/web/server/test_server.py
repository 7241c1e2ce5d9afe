"""The server: its API, its limits, and what keeps strangers out."""

from __future__ import annotations

import errno
import html
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import schemathesis
from helpers.models import save_model
from helpers.song_server import send, serving, song, wait_for
from hypothesis import given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from openunmix._version import __version__
from openunmix.audio import AudioWriter, probe, read_audio
from openunmix.cli import _separate
from openunmix.pretrained.registry import MODELS
from openunmix.web.server import store, uploads
from openunmix.web.server import tasks as separation
from openunmix.web.server.settings import Settings

TOKEN = "a token for the tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny_separator):
    """Return a client of a server that really separates, with a tiny model."""
    folder = tmp_path_factory.mktemp("server")
    model = save_model(folder / "tiny", tiny_separator(("vocals", "drums", "bass", "other")))
    with serving(Settings(folder / "data", model=str(model)), separation.separate) as client:
        client.folder, client.model = folder, model
        yield client


@pytest.fixture(scope="module")
def done(server):
    """Return a finished job of a song of one second."""
    return finished(server, send(server, "my song.wav", song(), residual="true").json())


@pytest.fixture
def quick(tmp_path):
    """Return a client of a server that only pretends to separate."""
    with serving(Settings(tmp_path / "data")) as client:
        yield client


def finished(client, job):
    """Wait for the end of a job and return it."""
    path = f"/api/jobs/{job['id']}"
    return wait_for(lambda: (now := client.get(path).json())["state"] in ("done", "failed") and now)


def detail(answer):
    """Return the message of an error, after checking that it is one."""
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["detail"]
    return answer.json()["detail"]


def kept(client_folder):
    """Names of what a server keeps."""
    return sorted(path.name for path in (client_folder / "jobs").iterdir())


# Songs


def test_song_is_taken_on(server):
    answer = send(server, "../a/my song.wav", targets=["drums", "vocals"], model="tiny")
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    assert re.fullmatch("[0-9a-f]{32}", job["id"])
    assert job["name"] == "my song.wav"
    assert job["state"] in ("waiting", "running")
    assert job["duration"] == 0.1
    assert job["targets"] == ["drums", "vocals"]
    assert finished(server, job)["files"] == ["drums", "vocals"]


def test_result_is_that_of_the_command(server, done, tmp_path, monkeypatch):
    assert done["state"] == "done"
    assert done["files"] == ["bass", "drums", "other", "vocals", "residual"]
    assert (done["model"], done["seconds"], done["duration"]) == ("tiny", 1.0, 1.0)
    monkeypatch.chdir(tmp_path)
    Path("song.wav").write_bytes(song())
    arguments = ["song.wav", "--model", str(server.model), "--residual", "--quiet"]
    assert _separate.main(arguments) == 0
    for name in done["files"]:
        answer = server.get(f"/api/jobs/{done['id']}/files/{name}")
        Path("answer.wav").write_bytes(answer.content)
        expected = read_audio(f"song_tiny/{name}.wav").waveform
        assert (read_audio("answer.wav").waveform == expected).all()
        disposition = f"attachment; filename*=utf-8''my%20song%20-%20{name}.wav"
        assert answer.headers["content-disposition"] == disposition


def test_part_of_a_stem_can_be_fetched(server, done):
    path = f"/api/jobs/{done['id']}/files/vocals"
    part = server.get(path, headers={"range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, b"WAVE")


def test_archive_has_all_stems(server, done):
    answer = server.get(f"/api/jobs/{done['id']}/result.zip")
    assert answer.headers["content-disposition"].endswith("my%20song.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{name}.wav" for name in done["files"]]
        stem = server.get(f"/api/jobs/{done['id']}/files/bass").content
        assert archive.read("bass.wav") == stem


def test_stem_mp4_has_mixture_and_all_stems(server, done, tmp_path):
    path = tmp_path / "result.stem.mp4"
    answer = server.get(f"/api/jobs/{done['id']}/result.stem.mp4")
    path.write_bytes(answer.content)
    assert probe(path).streams == 6
    assert server.get(f"/api/jobs/{done['id']}/result.stem.mp4").content == answer.content


def test_loud_song_does_not_clip_in_a_stem_mp4(server, tmp_path):
    path = tmp_path / "loud.wav"
    path.write_bytes(song())
    waveform, rate = read_audio(path)
    loud = 8 * waveform
    with AudioWriter(path, rate, len(loud)) as writer:
        writer.write(loud)
    job = finished(server, send(server, "loud.wav", path.read_bytes()).json())
    path = tmp_path / "loud.stem.mp4"
    path.write_bytes(server.get(f"/api/jobs/{job['id']}/result.stem.mp4").content)
    decoded = read_audio(path).waveform
    assert loud.abs().max() > 2
    assert decoded.abs().max() < 1.1  # AAC overshoots a little
    assert kept(server.folder / "data") == sorted(j["id"] for j in server.get("/api/jobs").json())


def test_page_to_listen_is_served_with_a_policy(server, done):
    answer = server.get(f"/jobs/{done['id']}/index.html")
    assert answer.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "script-src 'sha256-" in html.unescape(answer.text)  # the page's own policy
    assert "my song" in answer.text
    assert f"../../api/jobs/{done['id']}/files/vocals" in answer.text


def test_audio_beside_the_page_is_served_too(quick):
    job = finished(quick, send(quick).json())
    answer = quick.get(f"/jobs/{job['id']}/index-audio-0.js")
    assert (answer.text, answer.headers["x-content-type-options"]) == ("0", "nosniff")
    assert answer.headers["content-type"].startswith("text/javascript")


def test_name_of_a_song_is_harmless_everywhere(server):
    name = '<script>alert(1)</script>"; x=".wav'
    job = finished(server, send(server, name).json())
    assert job["name"] == 'script>"; x=".wav'  # what is before a slash is a folder
    for path in ("result.zip", "files/vocals"):
        disposition = server.get(f"/api/jobs/{job['id']}/{path}").headers["content-disposition"]
        assert disposition.isascii()
        assert disposition.count(";") == 1
    page = server.get(f"/jobs/{job['id']}/index.html").text
    assert 'script>"; x=' not in page


def test_models_say_what_they_may_be_used_for(server):
    models = {model["name"]: model for model in server.get("/api/models").json()}
    assert list(models) == ["tiny", *MODELS]
    assert [model["name"] for model in models.values() if model["default"]] == ["tiny"]
    assert models["umxs"]["bundled"]
    assert models["umxl"]["licence"] == MODELS["umxl"].licence
    assert models["umxhq"]["size"] == MODELS["umxhq"].size
    assert models["tiny"]["downloaded"]


def test_health_tells_the_limits(server):
    health = server.get("/api/health").json()
    assert (health["status"], health["version"]) == ("ok", __version__)
    assert health["max_duration"] == 3600
    assert health["disk_used"] >= 0


def test_twenty_songs_at_once(server):
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda n: send(server, f"{n}.wav", song(400, n), targets="vocals"), range(20))
        )
    assert [answer.status_code for answer in answers] == [201] * 20
    jobs = [finished(server, answer.json()) for answer in answers]
    assert [job["name"] for job in jobs] == [f"{n}.wav" for n in range(20)]
    assert all(job["state"] == "done" for job in jobs)
    stems = {server.get(f"/api/jobs/{job['id']}/files/vocals").content for job in jobs}
    assert len(stems) == 20


def test_page_of_the_app_works_without_any_other_server(server):
    answer = server.get("/")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    text = answer.text
    for name in ("app.css", "app.js", "icon.svg"):
        assert f"static/{name}" in text
        text += server.get(f"/static/{name}").raise_for_status().text
    assert re.findall(r"\w+://[\w.]+", text) == ["http://www.w3.org"]  # a name, not an address


def test_program_of_the_documentation_separates(server):
    page = Path(__file__).parents[3] / "docs" / "serve.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    namespace = {}
    exec(code, namespace)
    (server.folder / "song.wav").write_bytes(song())
    content = namespace["separate"](server, server.folder / "song.wav", targets="drums")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["drums.wav"]


# What is refused


@pytest.mark.parametrize(
    ("fields", "content", "code", "message"),
    [
        ({}, b"not audio" * 100, 415, "'song.wav' is damaged or not an audio file"),
        ({}, song()[:30], 415, "'song.wav' is damaged"),
        ({}, song(0), 415, "'song.wav' has no samples"),
        ({}, b"", 422, "the file is empty"),
        ({"model": "umxx"}, song(), 422, "no model 'umxx'; choose from tiny, umx"),
        ({"model": "../tiny"}, song(), 422, "no model '../tiny'"),
        ({"model": "/"}, song(), 422, "no model '/'"),
        ({"targets": "voice"}, song(), 422, "choose some of bass, drums, other, vocals"),
        ({"targets": ["bass", "bass"]}, song(), 422, "each once"),
        ({"residual": "maybe"}, song(), 422, "it can be true or false"),
        ({"target": "bass"}, song(), 422, "no field 'target'; there are file, model, targets"),
        ({"model": ["umxs", "umxs"]}, song(), 422, "'model' is there twice"),
        ({"model": "x" * 2000}, song(), 422, "longer than 1000"),
        ({"targets": ["bass"] * 60}, song(), 400, "too many fields"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # which tells when it was made
)
def test_bad_request_is_explained_and_leaves_nothing(server, fields, content, code, message):
    before = kept(server.folder / "data")
    answer = send(server, content=content, **fields)
    assert answer.status_code == code
    assert message in detail(answer)
    assert kept(server.folder / "data") == before


@pytest.mark.parametrize(
    ("body", "kind", "code", "message"),
    [
        (b"", "audio/wav", 415, "send the file as multipart/form-data"),
        (b"", "multipart/form-data", 400, "without a boundary"),
        (b"x", "multipart/form-data; boundary=b", 400, "cannot be read"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab',
            "",
            400,
            "truncated",
        ),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nab\r\n--b--', "", 422, "name"),
        (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nab\r\n--b--',
            "",
            422,
            "no file",
        ),
        (b"--b\r\nContent-Type: audio/wav\r\n\r\nab\r\n--b--", "", 422, "no field ''"),
    ],
)
def test_bad_form_is_explained(quick, body, kind, code, message):
    headers = {"content-type": kind or "multipart/form-data; boundary=b"}
    answer = quick.post("/api/jobs", content=body, headers=headers)
    assert answer.status_code == code
    assert message in detail(answer)


def test_two_files_in_one_request_are_refused(quick):
    files = [("file", ("a.wav", song())), ("file", ("b.wav", song()))]
    answer = quick.post("/api/jobs", files=files)
    assert (answer.status_code, "two files" in detail(answer)) == (422, True)


def test_unknown_jobs_stems_and_pages_are_not_found(server, done):
    job = done["id"]
    paths = ["/api/jobs/x", f"/api/jobs/{'0' * 32}/result.zip", f"/api/jobs/{job}/files/upload"]
    paths += [f"/jobs/{job}/job.json", f"/jobs/{'0' * 32}/index.html", "/api/nothing", "/nothing"]
    for path in paths:
        answer = server.get(path)
        assert answer.status_code == 404
        assert detail(answer)


def test_no_path_leads_out_of_a_folder(server, done):
    for path in ("../job.json", "..%2fjob.json", "%2e%2e/upload", "..\\job.json", "/etc/passwd"):
        for base in (f"/jobs/{done['id']}/", f"/api/jobs/{done['id']}/files/", "/static/"):
            host = (server.base_url.host, server.base_url.port)
            with socket.create_connection(host) as raw:
                # A client would have tidied up the path.
                raw.sendall(f"GET {base}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert raw.recv(100).startswith(b"HTTP/1.1 404")


def test_results_of_unfinished_jobs_are_not_there_yet(quick):
    job = send(quick, "slow.wav").json()
    for path in ("result.zip", "result.stem.mp4", "files/vocals"):
        answer = quick.get(f"/api/jobs/{job['id']}/{path}")
        assert answer.status_code == 409
        assert "there is no result: the job is " in detail(answer)
    assert quick.get(f"/jobs/{job['id']}/index.html").status_code == 409


def test_job_is_cancelled_and_removed_with_its_files(quick, tmp_path):
    slow, short = send(quick, "slow.wav").json(), send(quick).json()
    assert quick.delete(f"/api/jobs/{slow['id']}").status_code == 204
    assert finished(quick, short)["state"] == "done"
    assert quick.get(f"/api/jobs/{slow['id']}").status_code == 404
    assert quick.delete(f"/api/jobs/{slow['id']}").status_code == 404
    wait_for(lambda: kept(tmp_path / "data") == [short["id"]])


def test_failed_job_says_why(quick):
    job = finished(quick, send(quick, "crash.wav").json())
    assert job["state"] == "failed"
    assert "the file made the program crash" in job["error"]
    assert finished(quick, send(quick).json())["state"] == "done"


# Limits


def test_file_that_is_too_large_is_refused_at_once(tmp_path):
    with serving(Settings(tmp_path / "data", max_upload=200_000)) as client:
        assert send(client, content=song(2000)).status_code == 201
        answer = send(client, content=song(100_000))
        assert answer.status_code == 413
        assert "larger than 0.2 MB" in detail(answer)


def test_upload_is_cut_off_where_the_limit_is_whatever_it_claims(tmp_path):
    sent = 0

    def body():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(1000):
            sent += 1
            yield bytes(100_000)

    with serving(Settings(tmp_path / "data", max_upload=1_000_000)) as client:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = client.post("/api/jobs", content=body(), headers=headers)
        assert answer.status_code == 413
        assert "larger than 1 MB" in detail(answer)
        assert answer.headers["connection"] == "close"
        assert kept(tmp_path / "data") == []
        assert client.get("/api/jobs").json() == []


def test_song_that_is_too_long_is_refused(tmp_path):
    with serving(Settings(tmp_path / "data", max_duration=0.5)) as client:
        answer = send(client, content=song(8000))
        assert answer.status_code == 422
        assert "'song.wav' is 1 seconds long, the maximum is 0.5" in detail(answer)
        assert kept(tmp_path / "data") == []


def test_no_more_files_are_taken_on_than_may_wait(tmp_path):
    with serving(Settings(tmp_path / "data", max_jobs=5)) as client:
        running = send(client, "slow.wav").json()["id"]
        wait_for(lambda: client.get(f"/api/jobs/{running}").json()["state"] == "running")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: send(client), range(20)))
        codes = [answer.status_code for answer in answers]
        assert (codes.count(201), codes.count(429)) == (5, 15)
        refused = answers[codes.index(429)]
        assert refused.headers["retry-after"] == "60"
        assert "files are waiting already" in detail(refused)
        client.delete(f"/api/jobs/{running}")
        for job in client.get("/api/jobs").json():
            assert finished(client, job)["state"] == "done"


def test_room_for_results_is_limited(tmp_path):
    with serving(Settings(tmp_path / "data", max_disk=1_000_000)) as client:
        assert send(client, content=song(800)).status_code == 201
        answer = send(client, content=song(40_000))
        assert answer.status_code == 507
        assert "the server has room for" in detail(answer)


def test_disk_that_fills_up_during_an_upload_is_said(quick, tmp_path, monkeypatch):
    def full(file, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_write", full)
    answer = send(quick)
    assert answer.status_code == 507
    assert "the disk of the server is full" in detail(answer)
    assert kept(tmp_path / "data") == []


def test_disk_that_is_really_full(tmp_path, monkeypatch, server):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    try:
        monkeypatch.setattr(store.Store, "free", lambda self: 10**9)  # as if others filled it
        filler = disk / "filler"
        filler.write_bytes(bytes(1_000_000))
        with serving(Settings(disk, model=str(server.model)), separation.separate) as client:
            content = song(8000, subtype="PCM_16")
            job = finished(client, send(client, "large.wav", 4 * content[44:] and content).json())
            while job["state"] == "done":
                job = finished(client, send(client, "large.wav", content).json())
            assert job["error"].startswith("the disk of the server is full; remove old results")
            for other in client.get("/api/jobs").json():
                client.delete(f"/api/jobs/{other['id']}")
            small = finished(client, send(client, "small.wav").json())
            assert small["state"] == "done"
            with filler.open("ab", buffering=0) as file, suppress(OSError):
                while file.write(bytes(1024)):
                    pass
            answer = client.get(f"/api/jobs/{small['id']}/result.stem.mp4")
            assert answer.status_code == 507
            assert detail(answer).startswith("the disk of the server is full")
            filler.unlink()
            assert client.get(f"/api/jobs/{small['id']}/result.stem.mp4").status_code == 200
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_client_that_hangs_up_leaves_nothing(quick, tmp_path, caplog):
    head = (
        "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
    )
    with socket.create_connection((quick.base_url.host, quick.base_url.port)) as raw:
        raw.sendall(head.encode())
        wait_for(lambda: kept(tmp_path / "data"))
    wait_for(lambda: not kept(tmp_path / "data"))
    assert send(quick).status_code == 201
    assert "Traceback" not in caplog.text


def test_upload_that_stalls_is_given_up(quick, monkeypatch):
    monkeypatch.setattr(uploads, "_TIMEOUT", 0.2)

    def body():
        yield b"--b\r\n"
        threading.Event().wait(1)
        yield b"x"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = quick.post("/api/jobs", content=body(), headers=headers)
    assert (answer.status_code, "stalled" in detail(answer)) == (408, True)


def test_failure_of_the_server_itself_is_an_answer_too(quick, monkeypatch, caplog):
    def fail(self):
        raise PermissionError("a disk is gone")

    monkeypatch.setattr(store.Store, "free", fail)
    answer = send(quick)
    assert (answer.status_code, detail(answer)) == (
        500,
        "internal error; see the log of the server",
    )
    wait_for(lambda: "a disk is gone" in caplog.text)


# Strangers


def test_server_on_loopback_is_called_by_its_own_names_only(quick):
    for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        answer = quick.get("/api/jobs", headers={"host": name})
        assert answer.status_code == 400
        assert "this server is not called" in detail(answer)
    for name in ("localhost", "LOCALHOST:1", "[::1]:8765", "127.0.0.1"):
        assert quick.get("/api/jobs", headers={"host": name}).status_code == 200


def test_other_sites_cannot_send_anything(quick):
    own = str(quick.base_url)
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": own},
    ):
        for method, path in (("POST", "/api/jobs"), ("DELETE", "/api/jobs/x")):
            answer = quick.request(method, path, headers=headers)
            assert answer.status_code == 403
            assert "a page of another site" in detail(answer)
    headers = {"origin": own, "sec-fetch-site": "same-origin"}
    assert quick.delete("/api/jobs/x", headers=headers).status_code == 404


def test_every_answer_tells_browsers_to_be_careful(quick):
    for path in ("/", "/api/jobs", "/static/app.js", "/nothing"):
        headers = quick.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.fixture
def secret(tmp_path):
    with serving(Settings(tmp_path / "data", token=TOKEN, hosts=None)) as client:
        yield client


def test_nothing_is_shown_without_the_token(secret):
    for path in ("/", "/api/jobs", "/api/health", "/api/openapi.json", "/static/app.js", "/x"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": b"umx=x; \x7f=\xe9"}):
            answer = secret.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "a token is required" in detail(answer)
    assert secret.get("/api/jobs", params={"token": TOKEN}).status_code == 401
    assert secret.post("/", params={"token": TOKEN}).status_code == 401


def test_token_opens_the_api(secret):
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert secret.get("/api/jobs", headers=headers).json() == []


def test_token_in_an_address_becomes_a_cookie(secret):
    answer = secret.get("/", params={"token": TOKEN})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert 'http-equiv="refresh" content="0;url=?"' in answer.text
    assert "Separate songs" in secret.get("/").text  # the client keeps the cookie
    assert secret.get("/api/jobs").json() == []


def test_wrong_token_in_an_address_is_asked_for_again(secret):
    answer = secret.get("/", params={"token": "wrong"}, headers={"accept": "text/html"})
    assert answer.status_code == 401
    assert '<form method="get">' in answer.text
    assert "set-cookie" not in answer.headers
    assert secret.get("/static/app.css").status_code == 200


# Events


def events(lines):
    """Yield events of a stream as (name, content)."""
    name = None
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_events_tell_all_that_happens_to_a_job(quick):
    with quick.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = events(stream.iter_lines())
        assert next(told) == ("jobs", [])
        job = send(quick, "short.wav").json()
        states = []
        for name, content in told:
            assert (name, content["id"]) == ("job", job["id"])
            states.append(content["state"])
            if content["state"] == "done":
                break
        assert states == sorted(states, key=["waiting", "running", "done"].index)
        assert len(states) > 1
        quick.delete(f"/api/jobs/{job['id']}")
        assert next(told) == ("removed", {"id": job["id"]})


def test_events_begin_with_all_jobs_after_a_reconnection(quick):
    job = finished(quick, send(quick).json())
    with quick.stream("GET", "/api/events") as stream:
        assert next(events(stream.iter_lines())) == ("jobs", [job])


def test_server_ends_although_someone_watches(tmp_path):
    with (
        serving(Settings(tmp_path / "data")) as client,
        httpx.Client(base_url=client.base_url, trust_env=False) as other,
        other.stream("GET", "/api/events") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: jobs"
    # leaving the first block waits for the end of the server


# Restart


def start(folder):
    """Start a server in a process of its own; return it and a client."""
    command = [sys.executable, "-m", "helpers.song_server", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    return process, httpx.Client(base_url=url, timeout=30, trust_env=False)


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
def test_killed_server_offers_nothing_half_finished(tmp_path):
    folder = tmp_path / "data"
    process, client = start(folder)
    wait_for(lambda: reachable(client))
    done = finished(client, send(client).json())
    slow, waiting = send(client, "slow.wav").json(), send(client).json()
    work = folder / "jobs" / slow["id"] / "work"
    worker = int(wait_for(lambda: (path := work / "process").exists() and path.read_text("utf-8")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    client.close()
    wait_for(lambda: not alive(worker))
    with serving(Settings(folder)) as client:
        jobs = {job["id"]: job for job in client.get("/api/jobs").json()}
        assert jobs[done["id"]] == done
        assert client.get(f"/api/jobs/{done['id']}/files/vocals").content == b"all of the vocals"
        assert jobs[slow["id"]]["state"] == "failed"
        assert jobs[slow["id"]]["error"].startswith("interrupted")
        assert not work.exists()
        assert client.get(f"/api/jobs/{slow['id']}/files/vocals").status_code == 409
        assert finished(client, waiting)["state"] == "done"


def alive(process):
    """Whether there is a process of a number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def reachable(client):
    """Whether a server answers."""
    try:
        return client.get("/api/health").is_success
    except httpx.TransportError:
        return False


# The description of the API


OPERATIONS = [
    ("GET", "/api/health"),
    ("GET", "/api/models"),
    ("GET", "/api/jobs"),
    ("POST", "/api/jobs"),
    ("GET", "/api/jobs/{job_id}"),
    ("DELETE", "/api/jobs/{job_id}"),
    ("GET", "/api/jobs/{job_id}/result.zip"),
    ("GET", "/api/jobs/{job_id}/result.stem.mp4"),
    ("GET", "/api/jobs/{job_id}/files/{target}"),
]


@pytest.fixture(scope="module")
def api_schema(tmp_path_factory):
    with serving(Settings(tmp_path_factory.mktemp("api") / "data")) as client:
        yield schemathesis.openapi.from_url(f"{client.base_url}/api/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_api_does_what_its_description_says(method, path, api_schema):
    @settings(max_examples=10, deadline=None, database=None)
    @given(case=api_schema[path][method].as_strategy())
    def check(case):
        # A schema cannot say that a file has to be audio.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()


def test_all_of_the_api_is_described(api_schema):
    described = [
        (result.ok().method.upper(), result.ok().path) for result in api_schema.get_all_operations()
    ]
    assert sorted(described) == sorted([*OPERATIONS, ("GET", "/api/events")])  # which never ends
