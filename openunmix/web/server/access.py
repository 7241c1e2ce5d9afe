"""Access control: which requests are answered, before anything of them is read."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from openunmix._pages import render
from openunmix.web.server.headers import TOKEN_HEADERS
from openunmix.web.server.settings import Settings

# What the form for the token needs.
_PUBLIC = ("/static/common.css", "/static/app.css", "/static/icon.svg")

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_AUTHENTICATE = {"WWW-Authenticate": "Bearer"}


class AccessControl:
    """Middleware that checks the host, the origin and the token of every request.

    Another site can reach a server on loopback through the user's browser, but it can choose
    neither the ``Host`` header (DNS rebinding) nor the ``Origin`` of requests that change data.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._hosts = settings.hosts
        self._token = settings.token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        response = self._refuse(scope) if scope["type"] == "http" else None
        await (response or self.app)(scope, receive, send)

    def _refuse(self, scope: Scope) -> Response | None:
        """Response to a request that is not passed on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and _without_port(host) not in self._hosts:
            return _error(
                400,
                f"this server is not called {host[:100]!r}; use {' or '.join(self._hosts)}, or "
                "start it with --allow-host",
            )
        if scope["method"] not in _SAFE_METHODS and not _is_same_origin(headers):
            return _error(403, "sent by a page of another site; use the page of the server")
        if self._token is None or scope["path"] in _PUBLIC:
            return None
        return _check_token(Request(scope), self._token)


def _check_token(request: Request, token: str) -> Response | None:
    """Response to a request without a valid token or cookie."""
    key = hashlib.sha256(f"umx-serve {token}".encode()).hexdigest()
    cookie = f"umx-{key[:8]}"  # all ports of a host share its cookies
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _equal(bearer, token):
        return None
    if _equal(request.cookies.get(cookie, ""), key):
        return None
    path = request.scope["path"]
    is_page = request.method == "GET" and not path.startswith("/api/")
    if is_page and _equal(request.query_params.get("token", ""), token):
        response = _token_page(path, accepted=True)
        secure = request.url.scheme == "https"
        response.set_cookie(cookie, key, httponly=True, samesite="strict", secure=secure)
        return response
    if is_page and "text/html" in request.headers.get("accept", ""):
        return _token_page(path, accepted=False)
    return _error(401, "a token is required: send 'Authorization: Bearer ...'", _AUTHENTICATE)


def _token_page(path: str, accepted: bool) -> Response:
    """Form for the token, or the page that continues after it."""
    root = "../" * (path.count("/") - 1)  # relative, as a proxy may add a prefix
    page = render("token.html", root=root, accepted=accepted)
    headers = TOKEN_HEADERS if accepted else TOKEN_HEADERS | _AUTHENTICATE
    return HTMLResponse(page, 200 if accepted else 401, headers)


def _error(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Error in the format of the API."""
    return JSONResponse({"detail": detail}, status, headers)


def _without_port(host: str) -> str:
    """Host name of a Host header, in lower case."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()


def _is_same_origin(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from a program."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _equal(given: str, expected: str) -> bool:
    """Compare secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
