"""Devices that are not trusted: their first chunk is compared with that of the CPU.

Several versions of torch have computed wrong results on Apple's GPUs (MPS), without an error.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from openunmix.model import Separator

_log = logging.getLogger(__name__)

#: Types of devices whose results are compared.
UNTRUSTED = ("mps",)

#: Length of what is compared.
SECONDS = 10.0

#: Largest norm of the difference, relative to the estimates; float32 itself is at 1e-5.
LARGEST_ERROR = 1e-3

Separate = Callable[[Separator, Iterable[Tensor]], Iterator[Tensor]]

# Separators that were compared, with the copy to use in their place if there was a difference.
_compared: WeakKeyDictionary[Separator, Separator | None] = WeakKeyDictionary()


def trusted(
    separator: Separator, blocks: Iterable[Tensor], separate: Separate
) -> tuple[Separator, Iterable[Tensor]]:
    """Return the separator to use for blocks (channels, samples), and the same blocks.

    It is a copy on the CPU, with a warning, if the device computes something else. A separator is
    compared once, on the first sound that it separates; ``separate`` is the function to compare.
    """
    if next(separator.parameters()).device.type not in UNTRUSTED:
        return separator, blocks
    if separator in _compared:
        return _compared[separator] or separator, blocks
    beginning, blocks = _split(blocks, round(SECONDS * float(separator.sample_rate)))
    if beginning.any():
        _compared[separator] = _compare(separator, beginning, separate)
    return _compared.get(separator) or separator, blocks


def _split(blocks: Iterable[Tensor], samples: int) -> tuple[Tensor, Iterable[Tensor]]:
    """Return the beginning of a signal, at least so many samples, and all blocks of the signal."""
    iterator = iter(blocks)
    taken: list[Tensor] = []
    for block in iterator:
        taken.append(block.clone())  # the caller may reuse its buffer
        if sum(part.shape[-1] for part in taken) >= samples:
            break
    beginning = torch.cat(taken, dim=-1)[..., :samples] if taken else torch.zeros(1, 0)
    return beginning, itertools.chain(taken, iterator) if iterator is blocks else blocks


def _compare(separator: Separator, beginning: Tensor, separate: Separate) -> Separator | None:
    """Return a copy on the CPU if the estimates of the separator differ from its own, else None."""
    device = next(separator.parameters()).device
    on_cpu = _on_cpu(separator)
    expected = torch.cat(list(separate(on_cpu, [beginning])), dim=-1)
    try:
        found = torch.cat([part.cpu() for part in separate(separator, [beginning])], dim=-1)
        error = float((found - expected).norm() / expected.norm().clamp(min=1e-9))
        fault = f"differs from the CPU by {100 * error:.2g} %" if error == error else "returns NaN"
    except NotImplementedError as failure:  # an operation that this version of torch lacks
        error, fault = float("inf"), f"cannot compute this ({str(failure).splitlines()[0]})"
    if error <= LARGEST_ERROR:
        return None
    _log.warning(
        "the device %s %s in torch %s: using the CPU instead", device, fault, torch.__version__
    )
    return on_cpu


def _on_cpu(separator: Separator) -> Separator:
    """Return a copy on the CPU."""
    return copy.deepcopy(separator).cpu()
