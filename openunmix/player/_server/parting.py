"""The end of a request that is answered before it was read to its end."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Parting"]

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
