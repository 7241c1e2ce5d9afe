"""A track that ends the process which reads it, as one does that is too long for the memory."""

from __future__ import annotations

import os

from openunmix.evaluate import Track

__all__ = ["DeadlyTrack"]


class DeadlyTrack(Track):
    """Ends its process."""

    def read(self):
        os._exit(9)
