"""Access control."""

from __future__ import annotations

import pytest
from helpers.web_server import detail, serving

from openunmix.web.server.settings import Settings

TOKEN = "a token for the tests"


@pytest.fixture
def secret(tmp_path):
    with serving(Settings(tmp_path / "data", token=TOKEN, hosts=None)) as client:
        yield client


def test_server_on_loopback_is_called_by_its_own_names_only(quick):
    for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        response = quick.get("/api/jobs", headers={"host": name})
        assert response.status_code == 400
        assert "this server is not called" in detail(response)
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
            response = quick.request(method, path, headers=headers)
            assert response.status_code == 403
            assert "a page of another site" in detail(response)
    headers = {"origin": own, "sec-fetch-site": "same-origin"}
    assert quick.delete("/api/jobs/x", headers=headers).status_code == 404


def test_nothing_is_shown_without_the_token(secret):
    for path in ("/", "/api/jobs", "/api/health", "/api/openapi.json", "/static/app.js", "/x"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": b"umx=x; \x7f=\xe9"}):
            response = secret.get(path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert "a token is required" in detail(response)
    assert secret.get("/api/jobs", params={"token": TOKEN}).status_code == 401
    assert secret.post("/", params={"token": TOKEN}).status_code == 401


def test_token_opens_the_api(secret):
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert secret.get("/api/jobs", headers=headers).json() == []


def test_token_in_an_address_becomes_a_cookie(secret):
    response = secret.get("/", params={"token": TOKEN})
    assert response.status_code == 200
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert 'http-equiv="refresh" content="0;url=?"' in response.text
    assert "Separate songs" in secret.get("/").text  # the client keeps the cookie
    assert secret.get("/api/jobs").json() == []


def test_wrong_token_in_an_address_is_asked_for_again(secret):
    response = secret.get("/", params={"token": "wrong"}, headers={"accept": "text/html"})
    assert response.status_code == 401
    assert '<form method="get">' in response.text
    assert "set-cookie" not in response.headers
    assert secret.get("/static/app.css").status_code == 200
