"""Looking at what ``separate_file`` writes."""

from __future__ import annotations

import torch

from openunmix.audio import read_audio

__all__ = ["left_in", "read", "total"]


def read(result):
    """Read what was written: waveforms by name."""
    return {name: read_audio(path).waveform for name, path in result.outputs.items()}


def total(result):
    """Sum of what was written."""
    return torch.stack(list(read(result).values())).sum(dim=0)


def left_in(folder):
    """Names in a folder, hidden ones included."""
    return sorted(path.name for path in folder.rglob("*"))
