"""Waveform and spectrogram of a stem, computed block by block."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

BANDS = 128  # of a spectrogram, equally spaced in log frequency
LOWEST = 40.0  # Hz, lower edge of the first band
_HIGHEST = 20_000.0

_COLUMNS = 1600  # of a waveform; a spectrogram has half as many
_WINDOW = 0.09  # seconds, rounded to a power of two: 4096 samples at 44.1 kHz
_TINY = 1e-12  # power of silence, -120 dB


def highest(sample_rate: int) -> float:
    """Upper edge of the last band in Hz."""
    return min(_HIGHEST, sample_rate / 2)


class Picture:
    """Waveform and spectrogram of a signal of a duration in seconds, exact or estimated."""

    def __init__(self, sample_rate: int, duration: float) -> None:
        # Samples of a column of the waveform; of the spectrogram, twice as many.
        self.hop = max(32, math.ceil(duration * sample_rate / _COLUMNS))
        window = 2 ** round(math.log2(_WINDOW * sample_rate))
        self._frames = math.ceil(2 * self.hop / (window // 2))  # per column, with little overlap
        self._stride = math.ceil(2 * self.hop / self._frames)
        self._window = np.hanning(window + 1)[:-1].astype(np.float32)
        self._bands = _band_weights(sample_rate, window)
        self._levels: list[Array] = []
        self._powers: list[Array] = []
        self._pending = np.zeros((0, 0), dtype=np.float32)
        # The first frame is centred on the first column.
        self._signal = np.zeros((window - self._stride) // 2, dtype=np.float32)
        self.samples = 0  # so far

    def add(self, block: Array) -> None:
        """Process a block (channels, samples)."""
        self.samples += block.shape[1]
        if not self._pending.size:
            self._pending = block[:, :0]
        self._draw_waveform(np.concatenate([self._pending, block], axis=1))
        self._draw_spectrogram(np.concatenate([self._signal, block.mean(axis=0)]))

    def finish(self) -> None:
        """Process the remaining samples, padded with silence."""
        if self._pending.size:
            missing = self.hop - self._pending.shape[1]
            self._draw_waveform(np.pad(self._pending, ((0, 0), (0, missing))))
        columns = math.ceil(self.samples / (self._frames * self._stride))
        missing = columns * self._frames - sum(map(len, self._powers))
        padding = max(0, (missing - 1) * self._stride + len(self._window) - len(self._signal))
        if missing > 0:
            self._draw_spectrogram(np.pad(self._signal, (0, padding)))

    def waveform(self) -> Array:
        """Peak and RMS (2, columns)."""
        return np.concatenate(self._levels, axis=1)

    def spectrogram(self) -> Array:
        """Power (bands, columns) in dB relative to a full-scale sine."""
        frames = np.concatenate(self._powers)
        columns = len(frames) // self._frames
        power = frames[: columns * self._frames].reshape(columns, self._frames, BANDS).mean(axis=1)
        return np.asarray(10 * np.log10(power.T + _TINY), dtype=np.float32)

    @property
    def spectrogram_hop(self) -> int:
        """Samples of a column of the spectrogram."""
        return int(self._frames * self._stride)

    def _draw_waveform(self, waveform: Array) -> None:
        """Reduce all complete columns of a waveform (channels, samples), and keep the rest."""
        channels, samples = waveform.shape
        columns = samples // self.hop
        used, self._pending = np.split(waveform, [columns * self.hop], axis=1)
        cells = used.reshape(channels, columns, self.hop)
        peak = np.abs(cells).max(axis=(0, 2), initial=0)
        self._levels.append(np.stack([peak, np.sqrt(np.square(cells).mean(axis=(0, 2)))]))

    def _draw_spectrogram(self, signal: Array) -> None:
        """Transform all complete frames of a signal (samples,), and keep the rest."""
        size = len(self._window)
        frames = max(0, (len(signal) - size) // self._stride + 1)
        self._signal = signal[frames * self._stride :]
        if frames:
            views = np.lib.stride_tricks.sliding_window_view(signal, size)[:: self._stride]
            spectra = np.fft.rfft(views * self._window)
            power = np.square(np.abs(spectra)).astype(np.float32)
            self._powers.append(power @ self._bands)


def _band_weights(sample_rate: int, window: int) -> Array:
    """Weights (bins, bands) that integrate a power spectrum over each band.

    The spectrum is linearly interpolated between bins, so that the narrow low bands are as smooth
    as the wide high ones.
    """
    edges = np.geomspace(LOWEST, highest(sample_rate), BANDS + 1) * window / sample_rate
    distance = edges[None, :] - np.arange(window // 2 + 1)[:, None]
    below = np.clip(distance + 1, 0, 1) ** 2 / 2
    above = (1 - np.clip(1 - distance, 0, 1) ** 2) / 2
    # A full-scale sine has the power (sum(window) / 2)^2 at its peak, spread over 1.5 bins (the
    # noise bandwidth of a Hann window), and a Hann window sums to half its length.
    full_scale = 1.5 * (window / 4) ** 2
    return np.asarray(np.diff(below + above, axis=1) / full_scale, dtype=np.float32)
