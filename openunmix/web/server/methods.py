"""Methods and ranges as every HTTP server has them (RFC 9110), for all routes at once."""

from __future__ import annotations

import re

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_RANGE = re.compile(r"\s*(\d*)-(\d*)\s*")


class HeadMiddleware:
    """Answer HEAD like GET without the body (section 9.3.2); ignore ranges that make no sense."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        if scope["type"] == "http":
            headers = [
                (name, value)
                for name, value in scope["headers"]
                if name != b"range" or _is_range(value.decode("latin-1"))
            ]
            scope = {**scope, "headers": headers}
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        with anyio.CancelScope() as answer:

            async def send_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b""})
                    answer.cancel()  # no archive is made, and no event waited for

            await self.app({**scope, "method": "GET"}, receive, send_headers)


def _is_range(value: str) -> bool:
    """Whether a header is a range (section 14.2): other units are ignored, invalid ones may be."""
    unit, _, ranges = value.partition("=")
    found = [_RANGE.fullmatch(part) for part in ranges.split(",")]
    return unit == "bytes" and all(
        part and (part[1] or part[2]) and int(part[1] or 0) <= int(part[2] or part[1])
        for part in found
    )


def other_method(request: Request, routes: list[BaseRoute]) -> Response:
    """Answer a method that a path does not have with those that it has; OPTIONS with success."""
    methods = {"OPTIONS"}
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if "GET" in methods or len(methods) == 1:  # static files are no routes
        methods |= {"GET", "HEAD"}
    allow = {"Allow": ", ".join(sorted(methods))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    detail = f"{request.method[:20]} is not possible here; use {allow['Allow']}"
    return JSONResponse({"detail": detail}, 405, allow)
