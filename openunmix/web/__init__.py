"""Listen to stems in a browser: a page that plays them, in a file or in a notebook."""

from __future__ import annotations

from openunmix.web.notebook import StemPlayer, show
from openunmix.web.page import write_page

__all__ = ["StemPlayer", "show", "write_page"]
