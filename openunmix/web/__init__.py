"""A player for stems in the browser: as a page, in a notebook, or on a server."""

from __future__ import annotations

from openunmix.web.notebook import StemPlayer, show
from openunmix.web.page import write_page

__all__ = ["StemPlayer", "show", "write_page"]
