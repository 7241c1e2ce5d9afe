"""STFT and its inverse of a signal that arrives in blocks.

They compute what ``stft`` and ``istft`` of :mod:`openunmix.transforms.fourier` do with
``center=True``, but hold only a few windows of the signal. Frames are the first and bins the last
axis, the order in which the FFT reads and writes memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from openunmix.transforms.fourier import hann_window


class Analysis:
    """STFT of blocks (channels, samples) of a signal.

    ``push`` and ``finish`` transform at once. Or samples are collected by ``append`` and ``end``,
    and what ``cut`` returns is transformed in any thread.
    """

    def __init__(self, channels: int, n_fft: int, n_hop: int, device: torch.device) -> None:
        self.n_fft = n_fft
        self.n_hop = n_hop
        self.samples = 0
        self._half = n_fft // 2
        self._window = hann_window(n_fft, torch.float32).to(device)
        # samples that later frames need, and how many
        self._pending = [torch.zeros(channels, 0, dtype=torch.float32, device=device)]
        self._length = 0
        self._tail = self._pending[0]  # the last n_fft // 2 + 1 samples, reflected at the end
        self._started = False

    def push(self, block: Tensor) -> Tensor:
        """Append (channels, samples); return the complete frames (frames, channels, bins)."""
        self.append(block.clone())  # the caller may reuse its buffer
        return self.transform(self.cut(self.frames))

    def finish(self) -> Tensor:
        """Return the last frames, completed by the reflection of the end."""
        self.end()
        return self.transform(self.cut(self.frames))

    @property
    def frames(self) -> int:
        """Frames that are complete."""
        complete = (self._length - self.n_fft) // self.n_hop + 1
        return max(complete, 0) if self._started else 0

    def append(self, block: Tensor) -> None:
        """Append (channels, samples), which are not copied."""
        self.samples += block.shape[-1]
        self._tail = torch.cat([self._tail, block], dim=-1)[:, -(self._half + 1) :]
        self._collect(block)
        if not self._started and self._length > self._half:
            # reflection without the first sample: frame 0 is centred on it
            first = torch.cat(self._pending, dim=-1)
            self._pending, self._length, self._started = [], 0, True
            self._collect(first[:, 1 : self._half + 1].flip(-1))
            self._collect(first)

    def end(self) -> None:
        """Append the reflection of the end."""
        # A signal too short to be reflected is extended with zeros.
        short = self._half + 1 - self.samples
        if short > 0:
            self.append(functional.pad(self._tail[:, :0], (0, short)))
            self.samples -= short
        self._collect(self._tail[:, :-1].flip(-1))

    def cut(self, frames: int) -> Tensor:
        """Return the samples of the next frames, and drop those that no later frame needs."""
        if frames == 0:
            return self._tail[:, :0]
        pending = torch.cat(self._pending, dim=-1)
        self._pending, self._length = [], 0
        self._collect(pending[:, frames * self.n_hop :].clone())
        return pending[:, : (frames - 1) * self.n_hop + self.n_fft]

    def transform(self, samples: Tensor) -> Tensor:
        """Spectra (frames, channels, bins) of samples (channels, samples) from :meth:`cut`."""
        if not samples.shape[-1]:
            return samples.new_zeros(0, len(samples), self._half + 1, dtype=torch.complex64)
        windows = samples.unfold(-1, self.n_fft, self.n_hop).transpose(0, 1)
        spectra: Tensor = torch.fft.rfft(windows * self._window)
        return spectra

    def _collect(self, block: Tensor) -> None:
        self._pending.append(block)
        self._length += block.shape[-1]


class Synthesis:
    """Inverse of :class:`Analysis` in the least-squares sense, by weighted overlap-add.

    x(n) = sum over frames of w(n - t h) x_t(n - t h), divided by the sum of w(n - t h)^2.
    """

    def __init__(self, n_fft: int, n_hop: int, device: torch.device) -> None:
        self.n_fft = n_fft
        self.n_hop = n_hop
        self._window = hann_window(n_fft, torch.float32).to(device)
        # Numerator and denominator of the last n_fft - n_hop samples, to which later frames add.
        self._carry: Tensor | None = None
        self._weight = torch.zeros(n_fft - n_hop, dtype=torch.float32, device=device)
        self._skip = n_fft // 2  # samples of the reflection before the start of the signal

    def push(self, spectra: Tensor) -> Tensor:
        """Append (..., frames, channels, bins); return the complete (..., channels, samples)."""
        return self.add(self.transform(spectra))

    def transform(
        self,
        spectra: Tensor,
        apply: Callable[[Callable[[Tensor], Tensor], Sequence[Tensor]], Iterable[Tensor]] = map,
    ) -> Tensor:
        """Numerator of frames, (..., frames, channels, bins) to (..., channels, samples).

        ``apply`` is called like ``map`` with all sources, and may use several threads.
        """
        *leading, count, channels, _ = spectra.shape
        # One source after the other: their frames take n_fft / n_hop times the signal's memory.
        sources = spectra.reshape(-1, count, channels, self.n_fft // 2 + 1)
        signals = torch.stack(list(apply(self._signal, sources.unbind())))
        return signals.reshape(*leading, channels, -1)

    def add(self, signal: Tensor) -> Tensor:
        """Add a numerator, which is overwritten, to those before; return the complete samples."""
        overlap = self.n_fft - self.n_hop
        complete = signal.shape[-1] - overlap
        count = complete // self.n_hop
        weight = _overlap_add((self._window**2).expand(count, 1, -1), self.n_hop)[0]
        if self._carry is not None:
            signal[..., :overlap] += self._carry
        weight[:overlap] += self._weight
        self._carry, self._weight = signal[..., complete:].clone(), weight[complete:].clone()
        return self._drop_start(signal[..., :complete] / weight[:complete].clamp(min=1e-11))

    def finish(self, missing: int) -> Tensor:
        """Return the last ``missing`` samples."""
        assert self._carry is not None, "finish() before the first frame"
        rest = self._carry / self._weight.clamp(min=1e-11)
        return self._drop_start(rest)[..., :missing]

    def _signal(self, spectra: Tensor) -> Tensor:
        """Numerator of one source: (frames, channels, bins) to (channels, samples)."""
        frames = torch.fft.irfft(spectra, n=self.n_fft).mul_(self._window)
        return _overlap_add(frames, self.n_hop)

    def _drop_start(self, signal: Tensor) -> Tensor:
        """Cut off what lies before the first sample of the signal."""
        dropped = min(self._skip, signal.shape[-1])
        self._skip -= dropped
        return signal[..., dropped:]


def _overlap_add(frames: Tensor, n_hop: int) -> Tensor:
    """Sum overlapping frames: (frames, channels, n_fft) to (channels, samples)."""
    # Frames are cut into hops: hop number k of all frames is added at once, shifted by k hops.
    count, channels, n_fft = frames.shape
    hops = -(-n_fft // n_hop)
    if n_fft % n_hop:
        frames = functional.pad(frames, (0, hops * n_hop - n_fft))
    parts = frames.reshape(count, channels, hops, n_hop)
    total = frames.new_zeros(channels, count + hops - 1, n_hop)
    for hop in range(hops):
        total[:, hop : hop + count] += parts[:, :, hop].transpose(0, 1)
    return total.reshape(channels, -1)[:, : count * n_hop + n_fft - n_hop]
