"""How far two results are apart."""

from __future__ import annotations

import torch


def difference(actual, expected):
    """Return the largest difference, relative to the largest value expected."""
    actual, expected = torch.as_tensor(actual).detach(), torch.as_tensor(expected).detach()
    assert actual.shape == expected.shape
    return float((actual.double() - expected.double()).abs().max() / expected.abs().max())


def decibels(error, reference):
    """Return the power of an error relative to a reference in dB."""
    return float(
        10 * torch.log10(error.double().square().sum() / reference.double().square().sum())
    )
