"""Listen to stems in a browser: a page that plays them, in a file or in a notebook."""

from __future__ import annotations

from openunmix.player.notebook import StemPlayer, show
from openunmix.player.page import write_page

__all__ = ["StemPlayer", "show", "write_page"]
