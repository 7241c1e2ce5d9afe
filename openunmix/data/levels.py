"""Level of a stem, and what counts as silent: one rule for training and for its check."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Level up to which a stem counts as silent (-40 dBFS): what is there is leakage, not music.
SILENCE = 0.01


def block_powers(waveform: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float64]:
    """Mean squares of all whole blocks of half a second of a waveform (channels, samples)."""
    length = 10 * max(1, sample_rate // 20)
    blocks = waveform.shape[1] // length
    cut = waveform[:, : blocks * length].reshape(len(waveform), blocks, length)
    return np.asarray(np.square(cut).mean(axis=(0, 2), dtype=np.float64))


def loud_level(powers: npt.NDArray[np.float64], mean_power: float) -> float:
    """RMS of the blocks within 20 dB of the loudest; the whole mean where it has no whole block."""
    loud = powers[powers >= 0.01 * powers.max(initial=0)]
    return float(np.sqrt(loud.mean() if loud.size else mean_power))


def silence_text(level: float) -> str:
    """Describe a level that counts as silent."""
    if not level:
        return "it is silent"
    return f"its level is {_decibels(level):.1f} dB; up to {_decibels(SILENCE):.0f} dB is silence"


def _decibels(level: float) -> float:
    """Level in dB relative to full scale."""
    return float(20 * np.log10(level))
