"""Security headers."""

from __future__ import annotations


def test_every_response_has_security_headers(quick):
    for path in ("/", "/api/jobs", "/static/app.js", "/nothing"):
        headers = quick.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
