"""Properties that many functions share, as checks that a test calls."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def decibels(error: Tensor, reference: Tensor) -> float:
    """Power of an error relative to a reference in dB; infinite if the error is not finite."""
    if not torch.isfinite(error).all():
        return float("inf")
    power, expected = (signal.abs().double().square().sum() for signal in (error, reference))
    return float(10 * torch.log10(power / expected))


def check_not_mutated(function: Callable[..., object], *tensors: Tensor) -> None:
    """The function leaves its arguments as they were."""
    before = [tensor.clone() for tensor in tensors]
    function(*tensors)
    for tensor, copy in zip(tensors, before, strict=True):
        torch.testing.assert_close(tensor, copy, rtol=0, atol=0, equal_nan=True)


def check_leading_axes(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    """A stack of arguments gives the stack of results."""
    stacked = function(*(torch.stack([tensor, 0.5 * tensor]) for tensor in tensors))
    single = [function(*tensors), function(*(0.5 * tensor for tensor in tensors))]
    torch.testing.assert_close(stacked, torch.stack(single))


def check_dtype_device(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    """Single precision in, single precision out; the same for double; on the same device."""
    for real, complex_ in ((torch.float32, torch.complex64), (torch.float64, torch.complex128)):
        converted = [t.to(complex_ if t.is_complex() else real) for t in tensors]
        result = function(*converted)
        assert result.dtype == (complex_ if result.is_complex() else real)
        assert result.device == tensors[0].device


def check_gradient(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    """Gradients agree with finite differences, in double precision."""
    inputs = [t.detach().clone().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(function, inputs)


def check_finite_gradient(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    """Result and gradients are finite, where finite differences do not exist."""
    inputs = [t.detach().clone().requires_grad_() for t in tensors]
    result = function(*inputs)
    assert torch.isfinite(result).all()
    result.abs().square().sum().backward()
    for tensor in inputs:
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def check_sums_to_mixture(
    estimates: Tensor, mixture: Tensor, axis: int, tolerance: float = 1e-6
) -> None:
    """The estimates sum to the mixture, relative to its largest value."""
    error = (estimates.sum(dim=axis) - mixture).abs().max()
    assert error <= tolerance * mixture.abs().max()


def difference(actual, expected):
    """Return the largest difference, relative to the largest value expected."""
    actual, expected = torch.as_tensor(actual).detach(), torch.as_tensor(expected).detach()
    assert actual.shape == expected.shape
    return float((actual.double() - expected.double()).abs().max() / expected.abs().max())
