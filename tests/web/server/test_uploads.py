"""Uploads, and their limits."""

from __future__ import annotations

import errno
import socket
import threading

import pytest
from helpers.web_server import detail, kept, send, serving, wait_for, wav_bytes

from openunmix.web.server import uploads
from openunmix.web.server.settings import Settings

PART = b'--b\r\nContent-Disposition: form-data; name="file"%b\r\n\r\n'


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
        (b"--b--", "", 422, "there is no file"),
        (PART % b'; filename=""' + b"\r\n--b--", "", 422, "there is no file"),
        (PART % b'; filename="a"' + b"\r\n--b--", "", 422, "the file is empty"),
        (PART % b"\r\nContent-Transfer-Encoding: base64", "", 422, "encoded as base64"),
        (b"--b\r\nA: " + bytes(20_000), "", 400, "headers of a part are too long"),
        (PART % (b"; x*" + 6000 * b"1" + b"=a"), "", 400, "headers is damaged"),
    ],
)
def test_bad_form_is_explained(quick, body, kind, code, message):
    headers = {"content-type": kind or "multipart/form-data; boundary=b"}
    response = quick.post("/api/jobs", content=body, headers=headers)
    assert response.status_code == code
    assert message in detail(response)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (b'; filename="../../a.wav"', "a.wav"),
        (b'; filename="C:\\music\\a.wav"', "a.wav"),
        (b'; filename="a\0b.wav"', "a b.wav"),
        (b";\r\n filename*=UTF-8''%e2%80%aea%CC%88.wav", "ä.wav"),
        (b'; filename=""', "untitled"),
    ],
)
def test_form_with_a_preamble_and_odd_names(quick, given, name):
    """A form with a preamble, which RFC 2046 allows, was refused with a parser's message."""
    body = b"preamble\r\n" + PART % given + wav_bytes(800) + b"\r\n--b--\r\nepilogue"
    headers = {"content-type": 'Multipart/Form-Data; charset=utf-8; boundary="b"'}
    response = quick.post("/api/jobs", content=body, headers=headers)
    assert (response.status_code, response.json()["name"]) == (201, name)


def test_two_files_in_one_request_are_refused(quick):
    files = [("file", ("a.wav", wav_bytes())), ("file", ("b.wav", wav_bytes()))]
    response = quick.post("/api/jobs", files=files)
    assert (response.status_code, "two files" in detail(response)) == (422, True)


def test_file_that_is_too_large_is_refused_at_once(tmp_path):
    with serving(Settings(tmp_path / "data", max_upload=200_000)) as client:
        assert send(client, content=wav_bytes(2000)).status_code == 201
        response = send(client, content=wav_bytes(100_000))
        assert response.status_code == 413
        assert "larger than 0.2 MB" in detail(response)


def test_disk_that_fills_up_during_an_upload_is_reported(quick, tmp_path, monkeypatch):
    def full(file, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_write", full)
    response = send(quick)
    assert response.status_code == 507
    assert "the disk of the server is full" in detail(response)
    assert kept(tmp_path / "data") == []


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


def test_upload_that_stalls_is_aborted(quick, monkeypatch):
    monkeypatch.setattr(uploads, "_TIMEOUT", 0.2)

    def body():
        yield b"--b\r\n"
        threading.Event().wait(1)
        yield b"x"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = quick.post("/api/jobs", content=body(), headers=headers)
    assert (response.status_code, "stalled" in detail(response)) == (408, True)
