"""The audio of the tests: waveforms (channels, samples) of float32, made by arithmetic."""

from __future__ import annotations

import torch


def tone(samples, frequency=440.0, sample_rate=8000, amplitude=0.5, channels=2):
    """Make a sine, the same in all channels."""
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    sine = amplitude * torch.sin(2 * torch.pi * frequency * time)
    return sine.float().expand(channels, -1).clone()


def noise(samples, channels=2, seed=0, amplitude=0.1):
    """Make Gaussian noise of the given root mean square, independent in each channel."""
    generator = torch.Generator().manual_seed(seed)
    return amplitude * torch.randn(channels, samples, generator=generator)


def rms(waveform):
    """Return the root mean square."""
    return float(waveform.square().mean().sqrt())


def panned(waveform, side):
    """Place the first channel of a signal between left (-1) and right (1), at constant power."""
    angle = torch.tensor(torch.pi / 4 * (side + 1))
    return waveform[:1] * torch.stack([angle.cos(), angle.sin()])[:, None]


def mixture(samples, seed=0):
    """Make a stereo mixture: a tone to the left, another to the right, noise around them."""
    left = panned(tone(samples, 440.0), -0.6)
    right = panned(tone(samples, 1330.0, amplitude=0.3), 0.5)
    return left + right + noise(samples, seed=seed)
