r"""Short-time Fourier transform of a signal that arrives in blocks, and its inverse.

With the Hann window :math:`w` of :math:`N` samples and a hop of :math:`h` samples,

.. math:: X(t, f) = \sum_{n=0}^{N-1} w(n)\, x(n + t h)\, e^{-2\pi i f n / N}.

The signal is extended by half a window of its reflection on both sides, so that frame :math:`t` is
centred on sample :math:`t h`.
"""

from __future__ import annotations

import numpy as np

from openunmix_lite.types import Complex, Real


def hann_window(n_fft: int) -> Real:
    r"""Periodic Hann window :math:`w(n) = (1 - \cos(2 \pi n / N)) / 2`, (n_fft,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def stft(samples: Real, n_fft: int, n_hop: int) -> Complex:
    """Spectra of all whole windows, (channels, samples) to (frames, channels, bins)."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, n_fft, axis=-1)[:, ::n_hop]
    return np.fft.rfft(windows.swapaxes(0, 1) * hann_window(n_fft)).astype(np.complex64, copy=False)


def inverse_frames(spectra: Complex, n_fft: int) -> Real:
    r"""Windowed signal of each frame, :math:`w(n)\, x_t(n)`: (..., bins) to (..., n_fft)."""
    frames = np.fft.irfft(spectra, n=n_fft).astype(np.float32, copy=False)
    frames *= hann_window(n_fft)
    return frames


def overlap_add(frames: Real, n_hop: int) -> Real:
    r"""Sum :math:`\sum_t x_t(n - t h)`: (..., frames, channels, n_fft) to (..., channels, n)."""
    *leading, count, channels, n_fft = frames.shape
    hops = -(-n_fft // n_hop)
    if n_fft % n_hop:
        frames = np.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, hops * n_hop - n_fft)])
    parts = frames.reshape(*leading, count, channels, hops, n_hop)
    total = np.zeros((*leading, channels, count + hops - 1, n_hop), np.float32)
    for hop in range(hops):  # part number `hop` of all frames at once
        total[..., hop : hop + count, :] += parts[..., hop, :].swapaxes(-3, -2)
    signal = total.reshape(*leading, channels, -1)
    return signal[..., : (count - 1) * n_hop + n_fft]


class Analysis:
    """STFT of a signal that arrives in blocks (channels, samples)."""

    def __init__(self, channels: int, n_fft: int, n_hop: int) -> None:
        self.n_fft, self.n_hop = n_fft, n_hop
        self.samples = 0
        self._pending = np.zeros((channels, 0), np.float32)
        self._is_reflected = False  # the start

    def push(self, block: Real) -> Complex:
        """Append samples; return the frames that are complete, (frames, channels, bins)."""
        self.samples += block.shape[1]
        self._pending = np.concatenate([self._pending, block], axis=1)
        half = self.n_fft // 2
        if not self._is_reflected and self._pending.shape[1] > half:
            start = self._pending[:, half:0:-1]
            self._pending = np.concatenate([start, self._pending], axis=1)
            self._is_reflected = True
        return self._transform() if self._is_reflected else self._no_frames()

    def finish(self) -> Complex:
        """Return the last frames, completed by the reflection of the end."""
        half = self.n_fft // 2
        first = self._no_frames()
        if (short := half + 1 - self.samples) > 0:  # too short to be reflected: zeros follow
            first = self.push(np.zeros((len(self._pending), short), np.float32))
            self.samples -= short
        end = self._pending[:, -2 : -half - 2 : -1]
        self._pending = np.concatenate([self._pending, end], axis=1)
        return np.concatenate([first, self._transform()])

    def _transform(self) -> Complex:
        """Transform whole windows, and keep the samples that later ones need."""
        frames = (self._pending.shape[1] - self.n_fft) // self.n_hop + 1
        if frames <= 0:
            return self._no_frames()
        used = self._pending[:, : (frames - 1) * self.n_hop + self.n_fft]
        self._pending = self._pending[:, frames * self.n_hop :].copy()
        return stft(used, self.n_fft, self.n_hop)

    def _no_frames(self) -> Complex:
        return np.zeros((0, len(self._pending), self.n_fft // 2 + 1), np.complex64)


class Synthesis:
    r"""Inverse of :class:`Analysis` in the least-squares sense, part by part.

    .. math:: x(n) = \frac{\sum_t w(n - t h)\, x_t(n - t h)}{\sum_t w(n - t h)^2}
    """

    def __init__(self, n_fft: int, n_hop: int) -> None:
        self.n_fft, self.n_hop = n_fft, n_hop
        # Both sums over the last n_fft - n_hop samples, to which later frames add.
        self._numerator = np.zeros((1, 1, n_fft - n_hop), np.float32)
        self._denominator = np.zeros(n_fft - n_hop, np.float32)
        self._skip = n_fft // 2  # samples of the reflection before the start

    def push(self, numerator: Real) -> Real:
        """Add the numerator of some frames, (..., samples); return the samples that are complete.

        It is overwritten.
        """
        overlap = self.n_fft - self.n_hop
        complete = numerator.shape[-1] - overlap
        squares = hann_window(self.n_fft) ** 2
        frames = np.broadcast_to(squares, (complete // self.n_hop, 1, self.n_fft))
        denominator = overlap_add(frames, self.n_hop)[0]
        numerator[..., :overlap] += self._numerator
        denominator[:overlap] += self._denominator
        self._numerator = numerator[..., complete:].copy()
        self._denominator = denominator[complete:].copy()
        return self._divided(numerator[..., :complete], denominator[:complete])

    def finish(self) -> Real:
        """Return the rest, and what was reflected at the end."""
        return self._divided(self._numerator, self._denominator)

    def _divided(self, numerator: Real, denominator: Real) -> Real:
        """Divide, and cut off what lies before the start of the signal."""
        skipped = min(self._skip, numerator.shape[-1])
        self._skip -= skipped
        return (numerator / np.maximum(denominator, np.float32(1e-11)))[..., skipped:]
