r"""Short-time Fourier transform of a signal that arrives in blocks, and its inverse.

With the Hann window :math:`w` of :math:`N` samples and a hop of :math:`h` samples,

.. math:: X(t, f) = \sum_{n=0}^{N-1} w(n)\, x(n + t h)\, e^{-2\pi i f n / N}.

The signal is extended by half a window of its reflection on both sides, so that frame :math:`t` is
centred on sample :math:`t h`.
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Real: TypeAlias = npt.NDArray[np.float32]
Complex: TypeAlias = npt.NDArray[np.complex64]


def hann_window(n_fft: int) -> Real:
    r"""Periodic Hann window :math:`w(n) = (1 - \cos(2 \pi n / N)) / 2`, (n_fft,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def stft(samples: Real, n_fft: int, n_hop: int) -> Complex:
    """Spectra of all whole windows, (channels, samples) to (frames, channels, bins)."""
    frames, window = (samples.shape[1] - n_fft) // n_hop + 1, hann_window(n_fft)
    spectra = np.empty((frames, len(samples), n_fft // 2 + 1), np.complex64)
    for frame, start in enumerate(range(0, frames * n_hop, n_hop)):
        spectra[frame] = np.fft.rfft(window * samples[:, start : start + n_fft])
    return spectra


def stft_of_blocks(
    blocks: Iterable[Real], n_fft: int, n_hop: int, frames: int
) -> Iterator[Complex]:
    """Yield the STFT of a signal, ``frames`` frames at a time; the last part may have fewer."""
    enough = (frames - 1) * n_hop + n_fft
    waiting: list[Real] = []
    for block in reflected(blocks, n_fft // 2):
        waiting.append(block)
        if sum(part.shape[1] for part in waiting) >= enough:
            samples = np.concatenate(waiting, axis=1)
            while samples.shape[1] >= enough:
                yield stft(samples[:, :enough], n_fft, n_hop)
                samples = samples[:, frames * n_hop :]
            waiting = [samples]
    if sum(part.shape[1] for part in waiting) >= n_fft:
        yield stft(np.concatenate(waiting, axis=1), n_fft, n_hop)


def reflected(blocks: Iterable[Real], length: int) -> Iterator[Real]:
    """Extend a signal at both ends by its reflection; one that is too short, first by zeros."""
    blocks = iter(blocks)
    known = next(blocks, None)
    while known is not None and known.shape[1] <= length:
        missing = ((0, 0), (0, length + 1 - known.shape[1]))
        block = next(blocks, None)
        known = np.pad(known, missing) if block is None else np.concatenate([known, block], axis=1)
    if known is None:
        return
    yield known[:, length:0:-1]
    yield known
    for block in blocks:
        yield block
        known = np.concatenate([known[:, -length - 1 :], block], axis=1)
    yield known[:, -2 : -length - 2 : -1]


def overlap_add(blocks: Iterable[Complex], frames: int, n_fft: int, n_hop: int) -> Real:
    r"""Sum of windowed frames :math:`\sum_t w(n - t h)\, x_t(n - t h)`, (..., samples).

    Blocks are (..., frames, bins), with so many frames in all.
    """
    signal, start, window = np.zeros(0, np.float32), 0, hann_window(n_fft)
    for spectra in blocks:
        windowed = window * np.fft.irfft(spectra, n_fft)
        if start == 0:
            signal = np.zeros((*spectra.shape[:-2], (frames - 1) * n_hop + n_fft), np.float32)
        for frame in range(spectra.shape[-2]):
            signal[..., start : start + n_fft] += windowed[..., frame, :]
            start += n_hop
    return signal


def normalised(parts: Iterable[Real], n_fft: int, n_hop: int) -> Iterator[Real]:
    r"""Join overlap-added parts to the inverse of the STFT in the least-squares sense.

    .. math:: x(n) = \frac{\sum_t w(n - t h)\, x_t(n - t h)}{\sum_t w(n - t h)^2}
    """
    overlap, squares = n_fft - n_hop, hann_window(n_fft) ** 2
    later: Real | None = None  # sums to which the next frames will add
    later_weights = np.zeros(overlap, np.float32)
    skipped = n_fft // 2  # the reflection before the start
    for part in parts:
        weights = np.zeros(part.shape[-1], np.float32)
        for start in range(0, len(weights) - overlap, n_hop):
            weights[start : start + n_fft] += squares
        if later is not None:
            part[..., :overlap] += later
        weights[:overlap] += later_weights
        complete = len(weights) - overlap
        later, later_weights = part[..., complete:].copy(), weights[complete:]
        part /= np.maximum(weights, np.float32(1e-11))
        yield part[..., skipped:complete]
        skipped = max(0, skipped - complete)
    if later is not None:
        yield part[..., complete + skipped :]
