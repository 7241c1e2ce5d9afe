"""Middleware that closes connections whose request bodies nobody reads to the end."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DRAIN_TIME = 2.0  # seconds for which a client may go on sending, so that it reads the response


class DrainMiddleware:
    """Answer a request before its body has been read, drain it for a moment, then disconnect.

    Without a limit, clients could send for ever. If the connection were closed at once, their
    TCP stack would discard the response, which says why.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        unread = True

        async def tracked_receive() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def draining_send(message: Message) -> None:
            if not unread:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            else:
                last = not message.get("more_body", False)
                await send({**message, "more_body": True})
                if last:
                    with anyio.move_on_after(_DRAIN_TIME):
                        while unread:
                            await tracked_receive()
                    await send({"type": "http.response.body", "body": b""})

        await self.app(scope, tracked_receive, draining_send)


def _has_body(headers: Headers) -> bool:
    """Whether a request has a body."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
