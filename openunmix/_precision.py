"""The precision of matrix products that a device can use."""

from __future__ import annotations

import logging

import torch

__all__ = ["usable_precision"]

logger = logging.getLogger(__name__)


def usable_precision(precision: str, device: torch.device) -> str:
    """Return the precision asked for, or float32 where the processor lacks bfloat16.

    There torch computes bfloat16 without its fast kernels, hundreds of times slower than float32.

    Parameters
    ----------
    precision : str
        Such as ``"float32"`` or ``"bf16"``.
    device : torch.device
        Where matrices are multiplied.

    Returns
    -------
    str
        The precision to use; a warning is logged where it is not the one asked for.
    """
    if precision != "bf16" or device.type != "cpu" or _has_bfloat16():
        return precision
    logger.warning("this processor has no fast bfloat16: using float32 instead")
    return "float32"


def _has_bfloat16() -> bool:
    """Whether torch has fast matrix products in bfloat16 for this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
