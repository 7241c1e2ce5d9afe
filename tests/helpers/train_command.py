"""Running ``umx-train`` on a small dataset with tiny networks."""

from __future__ import annotations

import torch

from openunmix.cli._train import main
from openunmix.pretrained.folder import load_folder

RATE = 44100
SMALL = ["--hidden-size", "8", "--nfft", "512", "--nhop", "128", "--batch-size", "2"]
SMALL += ["--seq-dur", "0.5", "--precision", "float32", "--no-cuda", "--nb-workers", "0"]
TINY = ["--targets", "vocals", "drums", *SMALL]
TRACKS = ["--root", "data", "--target-file", "vocals.wav"]


def exit_code(*arguments):
    """Run the command; return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def train_one(target):
    """Train a tiny network for one target; return the exit code."""
    return exit_code("--root", "data", "--output", "run", "--target", target, *SMALL, "--steps", 1)


def train(*arguments):
    """Train a tiny model; return the exit code."""
    return exit_code("--root", "data", "--output", "run", *TINY, *arguments)


def weights(folder="run"):
    """All trained weights."""
    return torch.cat(
        [p.flatten() for n in load_folder(folder).networks.values() for p in n.parameters()]
    )
