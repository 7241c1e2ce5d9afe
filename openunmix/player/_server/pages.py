"""The pages that browsers get, and what they may do."""

from __future__ import annotations

from pathlib import Path

__all__ = ["APP_HEADERS", "PLAYER_HEADERS", "STATIC"]

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
