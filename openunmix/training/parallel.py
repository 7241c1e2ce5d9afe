"""Several processes, a GPU each, that train on their shares of every batch.

`Hugging Face Accelerate <https://huggingface.co/docs/accelerate>`_ starts them and connects them
(``accelerate launch``, ``torchrun``, ``mpirun``). They have the same weights at all times: each
computes the gradient of its share, and all take the mean.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openunmix.errors import MissingExtraError

__all__ = ["Launch", "Processes", "keep_freed_memory", "launched"]

# Parameters of mallopt, from glibc's malloc.h, and what to set them to.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_SETTINGS = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}


def keep_freed_memory(device: str = "cpu") -> bool:
    """Ask glibc's allocator to keep what is freed, for the whole process.

    By default, large blocks go back to the system when they are freed, and every step of training
    on a CPU gets them anew, page by page, which takes two fifths of its time. Call this before
    training starts; the memory of a run is about half as large again.

    Parameters
    ----------
    device : str
        Where training computes; on others than ``"cpu"`` nothing is changed.

    Returns
    -------
    bool
        Whether there is such an allocator and it agreed; elsewhere nothing is changed.
    """
    if device != "cpu" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) for parameter, value in _SETTINGS.items()])


# What launchers call rank and number of processes: torchrun and accelerate, then editions of MPI.
_NAMES = (
    ("RANK", "WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)


class Launch(NamedTuple):
    """What a launcher has told this process.

    Attributes
    ----------
    rank, world_size : int
        Number of this process, and how many there are.
    """

    rank: int
    world_size: int


def launched() -> Launch:
    """Read from the environment what the launcher has told.

    Returns
    -------
    Launch
        Rank 0 of 1 if this process was started alone.
    """
    for rank, world_size in _NAMES:
        if world_size in os.environ:
            return Launch(int(os.environ.get(rank, "0")), int(os.environ[world_size]))
    return Launch(0, 1)


class Processes:
    """The processes of a run, of which this is one.

    Parameters
    ----------
    device : str
        Where to compute, if there is only one process; several have a GPU each, or the CPU if
        this is ``"cpu"``.

    Attributes
    ----------
    rank, world_size : int
        Number of this process, and how many there are.
    device : torch.device
        Where this process computes.

    Raises
    ------
    MissingExtraError
        If there are several and the package accelerate is not installed.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.world_size = 0, 1
        self.device = torch.device(device)
        self._accelerator: Any = None
        if launched().world_size > 1:
            self._accelerator = _accelerate().Accelerator(cpu=device == "cpu")
            self.rank = self._accelerator.process_index
            self.world_size = self._accelerator.num_processes
            self.device = self._accelerator.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over all processes.

        Parameters
        ----------
        tensors : sequence of Tensor, real
            The same shapes in all processes.
        """
        if self.world_size == 1 or not tensors:
            return
        joined = torch.cat([tensor.flatten().float() for tensor in tensors])
        joined = self._accelerator.reduce(joined, reduction="mean")
        for tensor, part in zip(
            tensors, joined.split([tensor.numel() for tensor in tensors]), strict=True
        ):
            tensor.copy_(part.reshape(tensor.shape))

    def any(self, condition: bool) -> bool:
        """Tell whether something holds in at least one process.

        Parameters
        ----------
        condition : bool
            Whether it holds in this one.

        Returns
        -------
        bool
            The same in all processes.
        """
        if self.world_size == 1:
            return condition
        flag = torch.tensor(float(condition), device=self.device)
        self.average([flag])
        return bool(flag)

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def _accelerate() -> Any:
    """Import the optional package."""
    try:
        return importlib.import_module("accelerate")
    except ImportError as error:
        raise MissingExtraError(
            "training in several processes needs the package accelerate; install openunmix[train], "
            "or start a single process"
        ) from error
