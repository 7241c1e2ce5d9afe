"""Level, offset, clipping and fingerprint of an audio stream, measured in blocks.

The fingerprint is the level over time in dB, of the signal and of its first difference, which
emphasises high frequencies. It hardly depends on gain, coding and sample rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from openunmix.audio import AudioInfo, AudioSource, probe
from openunmix.data.levels import block_powers, loud_level
from openunmix.errors import AudioFileError

Block = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

_FRAMES = 20  # a second
# Power below which a frame counts as silent: -60 dB relative to full scale.
_SILENCE = 1e-6
# Frames are compared down to this many dB below the loudest.
_RANGE = 50.0
# Seconds that fingerprints must have in common, and the lag up to which they are compared.
_OVERLAP, _LAG = 2.0, 10.0


@dataclass(frozen=True)
class Measure:
    """Measure of a whole stream; full scale is 1."""

    sample_rate: int
    channels: int
    samples: int
    peak: float
    power: float  # mean square
    offset: float  # largest absolute mean of a channel
    clipped: float  # share of samples amid three or more equal ones near full scale
    level: float  # that decides in training what is silent
    non_silent: float  # seconds above -60 dB
    fingerprint: Array  # dB (2, frames)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.sample_rate


class _Meter:
    """Accumulator of a measure."""

    def __init__(self, info: AudioInfo) -> None:
        self.info = info
        self.samples = 0
        self.peak = 0.0
        self.clipped = 0
        self.sums = np.zeros(info.channels)
        self.squares = 0.0
        self.frames: list[Array] = []
        self.powers: list[Array] = []

    def add(self, block: Block) -> None:
        """Add a block (channels, samples)."""
        self.samples += block.shape[1]
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.sums += block.sum(axis=1, dtype=np.float64)
        self.squares += float(np.square(block, dtype=np.float64).sum())
        self.clipped += _clipped(block)
        self.frames.append(_frame_powers(block, max(1, self.info.sample_rate // _FRAMES)))
        self.powers.append(block_powers(block, self.info.sample_rate))

    def result(self) -> Measure:
        """Return the measure of all blocks."""
        powers = np.concatenate(self.frames, axis=1)
        total = self.samples * self.info.channels
        return Measure(
            self.info.sample_rate,
            self.info.channels,
            self.samples,
            self.peak,
            self.squares / total,
            float(np.abs(self.sums).max() / self.samples),
            self.clipped / total,
            loud_level(np.concatenate(self.powers), self.squares / total),
            float((powers[0] > _SILENCE).sum() / _FRAMES),
            _fingerprint(powers),
        )


def _clipped(block: Block) -> int:
    """Count samples between equal ones near full scale; unclipped peaks are not flat."""
    if np.abs(block).max() < 0.98:
        return 0
    inner = block[:, 1:-1]
    equal = (inner == block[:, :-2]) & (inner == block[:, 2:]) & (np.abs(inner) >= 0.98)
    return int(equal.sum())


def _frame_powers(block: Block, hop: int) -> Array:
    """Mean squares (2, frames) of a block and of its differences."""
    mono = block.mean(axis=0, dtype=np.float64)
    both = np.stack([mono, np.diff(mono, prepend=mono[:1])])
    frames = mono.size // hop
    return np.asarray(np.square(both[:, : frames * hop]).reshape(2, frames, hop).mean(axis=2))


def _fingerprint(powers: Array) -> Array:
    """Levels in dB (2, frames), smoothed over time, limited to 50 dB below the loudest."""
    if not powers.size or not powers[0].max() > _SILENCE:
        return np.zeros((2, 0))
    padded = np.pad(powers, ((0, 0), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    levels = 10 * np.log10(smooth + 1e-20)
    return np.asarray(np.maximum(levels, levels.max(axis=1, keepdims=True) - _RANGE))


def similarity(one: Array, other: Array) -> float:
    """Largest correlation of two fingerprints (2, frames) over lags of up to ten seconds.

    0 if one is silent, shorter than two seconds or steady, or if they have less than four fifths
    of the longer one in common.
    """
    longest = max(one.shape[1], other.shape[1])
    least = max(int(_OVERLAP * _FRAMES), int(0.8 * longest))
    if min(one.shape[1], other.shape[1]) < least:
        return 0.0
    lags = _best_lags(one, other, min(round(_LAG * _FRAMES), longest - least))
    return max(_correlation(one, other, lag, least) for lag in lags)


def _best_lags(one: Array, other: Array, limit: int) -> list[int]:
    """Lags around the maximum of the cross-correlation of two fingerprints."""
    size = 1 << (one.shape[1] + other.shape[1]).bit_length()
    spectra = [np.fft.rfft(x - x.mean(axis=1, keepdims=True), size) for x in (one, other)]
    products = np.fft.irfft(spectra[0] * spectra[1].conj(), size).sum(axis=0)
    lags = np.arange(-limit, limit + 1)
    best = int(lags[products[lags % size].argmax()])
    return [best - 1, best, best + 1]


def _correlation(one: Array, other: Array, lag: int, least: int) -> float:
    """Correlation of ``one[lag:]`` with ``other`` over their common frames."""
    if lag < 0:
        one, other, lag = other, one, -lag
    length = min(one.shape[1] - lag, other.shape[1])
    if length < least:
        return 0.0
    a, b = one[:, lag : lag + length], other[:, :length]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    # Steady levels carry no information: any two steady sounds would be similar.
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 2.0 * length else 0.0


def measure_together(
    streams: Sequence[AudioSource],
) -> tuple[list[Measure | AudioFileError], float | None]:
    """Measures of streams read side by side, or why one cannot be read, and the residual.

    The residual is the power of the first stream minus the sum of the others, relative to that of
    the first; None if their rates, channels or lengths do not fit.
    """
    readings = [_Reading(stream) for stream in streams]
    difference = total = 0.0
    for blocks in zip_longest(*(reading.blocks() for reading in readings)):
        present = [block for block in blocks if block is not None]
        if len(present) == len(readings) > 1:
            length = min(block.shape[1] for block in present)
            first, *others = (block[:, :length] for block in present)
            if all(block.shape[0] in {1, first.shape[0]} for block in others):
                rest = first - np.sum([block + first * 0 for block in others], axis=0)
                difference += float(np.square(rest, dtype=np.float64).sum())
                total += float(np.square(first, dtype=np.float64).sum())
    measures = [reading.result() for reading in readings]
    rates = {m.sample_rate for m in measures if isinstance(m, Measure)}
    failed = any(isinstance(m, AudioFileError) for m in measures)
    return measures, None if failed or len(rates) > 1 or not total else difference / total


class _Reading:
    """A stream read block by block, until it ends or cannot be decoded."""

    def __init__(self, stream: AudioSource) -> None:
        self._stream = stream
        self._error: AudioFileError | None = None
        self._meter: _Meter | None = None

    def blocks(self) -> Iterator[Block]:
        """Yield and measure blocks of whole frames, about two seconds long."""
        try:
            size = 40 * max(1, probe(self._stream.path).sample_rate // _FRAMES)
            with self._stream.open(size) as reader:
                self._meter = _Meter(reader.info)
                for block in reader:
                    self._meter.add(block)
                    yield block
        except AudioFileError as error:
            self._error = error

    def result(self) -> Measure | AudioFileError:
        """Return the measure of the whole stream, or the error."""
        if self._error is not None or self._meter is None:
            return self._error or AudioFileError("nothing was read")
        if not self._meter.samples:
            return AudioFileError(f"{self._stream}: there is no audio in it")
        return self._meter.result()
