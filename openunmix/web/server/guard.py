"""Who may talk to the server, and what browsers may do with its answers."""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openunmix.web.server.settings import Settings

__all__ = ["APP_HEADERS", "PLAYER_HEADERS", "STATIC", "Guard", "Parting"]

#: The folder of what never changes.
STATIC = Path(__file__).parents[1] / "static"

#: The page of the app: scripts, styles and requests of this server, nothing else.
APP_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src "
    "'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}

#: The page to listen allows itself nothing but its own script; that it is not framed, a page
#: cannot say for itself.
PLAYER_HEADERS = {"Content-Security-Policy": "object-src 'none'; frame-ancestors 'none'"}


# Seconds for which a client may go on to send, so that it has a chance to read the answer.
_GRACE = 2.0


class Parting:
    """Middleware that hangs up on clients who send more than anyone wants to read.

    A server that keeps reading lets them send for ever; one that hangs up at once makes their
    system throw away the answer, which says why. So the answer goes out as a whole, the rest of
    the request is thrown away for a moment, and then the connection is closed.

    Parameters
    ----------
    app : ASGI application
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        unread = True

        async def listen() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if not unread:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            else:
                last = not message.get("more_body", False)
                await send({**message, "more_body": True})
                if last:
                    with anyio.move_on_after(_GRACE):
                        while unread:
                            await listen()
                    await send({"type": "http.response.body", "body": b""})

        await self.app(scope, listen, answer)


def _has_body(headers: Headers) -> bool:
    """Whether a request has more than a head."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


# Set unless an answer says otherwise: nothing is loaded, framed, sniffed, shared or kept.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# What the page that asks for the token needs; the same for everyone.
_PUBLIC = ("/static/app.css", "/static/icon.svg")

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Open-Unmix</title>
<link rel="icon" href="{root}static/icon.svg">
{content}
</html>
"""

# Browsers withhold a strict cookie from a redirect that another site has led to, but not from a
# page that goes on by itself.
_GO_ON = '<meta http-equiv="refresh" content="0;url=?">'

_FORM = """<link rel="stylesheet" href="{root}static/app.css">
<body class="gate">
<main class="card">
<h1>Open-Unmix</h1>
<form method="get">
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" required autocomplete="current-password" autofocus>
<button class="primary">Enter</button>
<p class="hint">It was shown where the server was started.</p>
</form>
</main>
</body>"""

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class Guard:
    """Middleware that checks every request before anything of it is read.

    Three things keep strangers out: the name by which the server is called (a page of another
    site cannot choose it), the origin of requests that change something, and a token.

    Parameters
    ----------
    app : ASGI application
        What it guards.
    settings : Settings
        The token and the names.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-cache")
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(scope) or self.app
        await answer(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Return what to say instead of letting a request pass."""
        headers = Headers(scope=scope)
        names = self.settings.hosts
        if names is not None and _without_port(headers.get("host", "")) not in names:
            return _refusal(
                400,
                f"this server is not called {headers.get('host', '')[:100]!r}; call it "
                f"{' or '.join(names)}, or start it with --allow-host",
            )
        if scope["method"] not in _SAFE_METHODS and not _is_same_origin(headers):
            return _refusal(403, "a page of another site has sent this; use the page of the server")
        if self.settings.token is None or scope["path"] in _PUBLIC:
            return None
        return self._ask_for_token(scope, headers, self.settings.token)

    def _ask_for_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """Return what to say to those who do not show the token."""
        key = hashlib.sha256(f"umx-serve {token}".encode()).hexdigest()
        cookie = f"umx-{key[:8]}"  # cookies are shared by all ports of a machine
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(shown, token):
            return None
        if _equal(_cookies(headers).get(cookie, ""), key):
            return None
        is_page = scope["method"] == "GET" and not scope["path"].startswith("/api/")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if is_page and _equal(query.get("token", ""), token):
            answer = _page(scope, _GO_ON)
            secure = HTTPConnection(scope).url.scheme == "https"
            answer.set_cookie(cookie, key, httponly=True, samesite="strict", secure=secure)
            return answer
        if is_page and "text/html" in headers.get("accept", ""):
            return _page(scope, _FORM, 401, {"WWW-Authenticate": "Bearer"})
        return _refusal(
            401,
            "this server needs a token: send it as 'Authorization: Bearer ...'",
            {"WWW-Authenticate": "Bearer"},
        )


def _page(
    scope: Scope, content: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a page; what it needs is named as seen from its path, as a proxy may add to that."""
    root = "../" * (scope["path"].count("/") - 1)
    text = _PAGE.replace("{content}", content).replace("{root}", root)
    return HTMLResponse(text, status, {"Content-Security-Policy": _PAGE_POLICY} | (headers or {}))


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error as the API gives it."""
    return JSONResponse({"detail": detail}, status, headers)


def _without_port(host: str) -> str:
    """Return the name of a Host header."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()


def _is_same_origin(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _cookies(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in cookies.items()}


def _equal(shown: str, expected: str) -> bool:
    """Compare secrets in a time that does not tell how much is right."""
    return hmac.compare_digest(shown.encode(), expected.encode())
