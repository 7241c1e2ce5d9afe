"""Tracks that end the process which reads them, as too long ones do, or that keep it busy."""

from __future__ import annotations

import os
import time

import numpy as np

from openunmix.audio import AudioWriter
from openunmix.evaluate import Track

__all__ = ["DeadlyTrack", "SlowTrack"]


class DeadlyTrack(Track):
    """Ends its process."""

    def read(self):
        os._exit(9)


class SlowTrack(Track):
    """A track in which a process writes a file for a minute."""

    def read(self):
        with AudioWriter(self.path, 8000, 1) as writer:
            writer.write(np.zeros((1, 8000)))
            time.sleep(60)
