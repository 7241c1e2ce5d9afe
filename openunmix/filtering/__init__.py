"""Wiener filtering on pairs of real and imaginary part: the interface of openunmix 1.3.0.

The pair is the axis after ``channels``. The filter itself, on complex tensors, is in
:mod:`openunmix.filtering.gaussian`. Angles are those of 1.3.0, whose π has single precision: in
float64 this makes results equal beyond the seventh digit, in float32 it is within rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from openunmix.filtering.gaussian import expectation_maximization as _expectation_maximization
from openunmix.filtering.gaussian import wiener as _wiener

__all__ = ["atan2", "expectation_maximization", "wiener"]

# Error of the π of 1.3.0.
_PI_ERROR = float(torch.tensor(math.pi, dtype=torch.float32)) - math.pi


def atan2(y: Tensor, x: Tensor) -> Tensor:
    """Angle of points in the plane.

    Parameters
    ----------
    y, x : Tensor [shape=(...)], real
        Coordinates: imaginary and real parts.

    Returns
    -------
    Tensor [shape=(...)], real
        Radians within [-π, π]; at the origin 0, with a gradient of 0.

    Examples
    --------
    >>> atan2(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0]))
    tensor([0.0000, 1.5708])
    """
    origin = (x == 0) & (y == 0)
    angle = torch.atan2(y, torch.where(origin, 1.0, x))  # the gradient of atan2(0, 0) is NaN
    # 1.3.0 computes the angle as an arctangent plus 0, π/2 or π: this many times its π.
    half_turns = (x < 0) + 0.5 * ((x == 0) & ~origin)
    return angle + _PI_ERROR * half_turns * torch.where(y < 0, -1.0, 1.0)


def wiener(
    targets_spectrograms: Tensor,
    mix_stft: Tensor,
    iterations: int = 1,
    softmask: bool = False,
    residual: bool = False,
    scale_factor: float = 10.0,
    eps: float = 1e-10,
) -> Tensor:
    """Separate a mixture by multichannel Wiener filtering, from the magnitudes of its sources.

    Parameters
    ----------
    targets_spectrograms : Tensor [shape=(frames, bins, channels, sources)], real, non-negative
        Magnitude of the STFT of every source.
    mix_stft : Tensor [shape=(frames, bins, channels, 2)], real
        STFT of the mixture, real and imaginary parts.
    iterations, softmask, residual, scale_factor, eps
        As for :func:`openunmix.filtering.gaussian.wiener`.

    Returns
    -------
    Tensor [shape=(frames, bins, channels, 2, sources)], real
        STFTs of the sources, the residual last.
    """
    angle = atan2(mix_stft[..., 1], mix_stft[..., 0])
    phase = torch.polar(torch.ones_like(angle), angle)
    mixture = _as_complex(mix_stft, axis=-1)
    options = (iterations, softmask, residual, scale_factor, eps, phase)
    return _as_pairs(_wiener(targets_spectrograms, mixture, *options))


def expectation_maximization(
    y: Tensor, x: Tensor, iterations: int = 2, eps: float = 1e-10, batch_size: int = 200
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the local Gaussian model to a mixture, from initial estimates of its sources.

    Parameters
    ----------
    y : Tensor [shape=(frames, bins, channels, 2, sources)], real
        Initial estimates of the sources, real and imaginary parts.
    x : Tensor [shape=(frames, bins, channels, 2)], real
        STFT of the mixture, real and imaginary parts.
    iterations, eps
        As for :func:`openunmix.filtering.gaussian.expectation_maximization`.
    batch_size : int
        Has no effect; in 1.3.0 the number of frames computed at once.

    Returns
    -------
    y : Tensor [shape=(frames, bins, channels, 2, sources)], real
        The sources.
    v : Tensor [shape=(frames, bins, sources)], real, non-negative
        Power spectral densities.
    R : Tensor [shape=(bins, channels, channels, 2, sources)], real
        Spatial covariances, real and imaginary parts.
    """
    sources, psd, covariance = _expectation_maximization(
        _as_complex(y, axis=-2), _as_complex(x, axis=-1), iterations, eps
    )
    return _as_pairs(sources), psd, _as_pairs(covariance)


def _as_complex(pairs: Tensor, axis: int) -> Tensor:
    """Join the real and imaginary parts along an axis of 2; any memory layout."""
    real, imaginary = pairs.unbind(dim=axis)
    return torch.complex(real, imaginary)


def _as_pairs(numbers: Tensor) -> Tensor:
    """View (..., sources) complex as (..., 2, sources) real."""
    return torch.view_as_real(numbers).movedim(-1, -2)
