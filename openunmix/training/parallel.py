"""Training in several processes, a GPU each, on their shares of every batch.

`Hugging Face Accelerate <https://huggingface.co/docs/accelerate>`_ starts and connects them
(``accelerate launch``, ``torchrun``, ``mpirun``). They have the same weights at all times: each
computes the gradient of its share, and all take the mean.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openunmix.errors import MissingExtraError

# Parameters of mallopt, from glibc's malloc.h, and their values.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_SETTINGS = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}


def keep_freed_memory(device: str = "cpu") -> bool:
    """Configure glibc's allocator to keep freed memory; return whether it was.

    By default, large blocks go back to the system when they are freed, and every step on a CPU maps
    them anew, page by page, which takes two fifths of its time. Keeping them costs about half as
    much memory again. Call this before training; other devices and allocators are left alone.
    """
    if device != "cpu" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) for parameter, value in _SETTINGS.items()])


# Multiply-adds of the frames of a batch that a thread is worth; with fewer, to wait for each other
# at every frame of a recurrent layer costs threads more than they gain, see docs/training.md.
_PER_THREAD = 16e6


@contextmanager
def step_threads(device: torch.device, multiply_adds: float) -> Iterator[None]:
    """Compute on a CPU in as many of torch's threads as a batch is worth, by its frames' size."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, min(threads, int(multiply_adds / _PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# Variables of rank and number of processes: torchrun and accelerate, then implementations of MPI.
_NAMES = (
    ("RANK", "WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)


class Launch(NamedTuple):
    """Number of this process, and of processes."""

    rank: int
    world_size: int


def launched() -> Launch:
    """Read the variables of the launcher; rank 0 of 1 without one."""
    for rank, world_size in _NAMES:
        if world_size in os.environ:
            return Launch(int(os.environ.get(rank, "0")), int(os.environ[world_size]))
    return Launch(0, 1)


class Processes:
    """The processes of a run, of which this is number ``rank`` of ``world_size``.

    ``device`` is that of a single process; several have a GPU each, or the CPU if it is ``"cpu"``.
    They need the package accelerate, without which MissingExtraError is raised.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.world_size = 0, 1
        self.device = torch.device(device)
        self._accelerator: Any = None
        if launched().world_size > 1:
            try:
                accelerate = importlib.import_module("accelerate")
            except ImportError as error:
                raise MissingExtraError(
                    "training in several processes needs the package accelerate; install "
                    "openunmix[train], or start a single process"
                ) from error
            self._accelerator = accelerate.Accelerator(cpu=device == "cpu")
            self.rank = self._accelerator.process_index
            self.world_size = self._accelerator.num_processes
            self.device = self._accelerator.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of the same shapes in all processes, by their mean over processes."""
        if self.world_size == 1 or not tensors:
            return
        # One message for all of them.
        joined = torch.cat([tensor.flatten().float() for tensor in tensors])
        joined = self._accelerator.reduce(joined, reduction="mean")
        parts = joined.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.reshape(tensor.shape))

    def any(self, condition: bool) -> bool:
        """Whether a condition holds in at least one process; the same in all processes."""
        if self.world_size == 1:
            return condition
        flag = torch.tensor(float(condition), device=self.device)
        self.average([flag])
        return bool(flag)

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
