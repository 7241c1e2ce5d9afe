"""Connections of clients that send too much."""

from __future__ import annotations

from helpers.web_server import detail, kept, serving

from openunmix.web.server.settings import Settings


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
        response = client.post("/api/jobs", content=body(), headers=headers)
        assert response.status_code == 413
        assert "larger than 1 MB" in detail(response)
        assert response.headers["connection"] == "close"
        assert kept(tmp_path / "data") == []
        assert client.get("/api/jobs").json() == []
