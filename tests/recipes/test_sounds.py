"""Sounds that umxses is trained on: excerpts, noise made by the code, and speech in rooms."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import MADE, excerpt, in_rooms, make_noise
from voices import SAMPLE_RATE

LENGTH = 2 * SAMPLE_RATE
DELAYS = (1000, 2000, 3999)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def rooms() -> np.ndarray:
    """Three rooms: the direct sound, and an echo of half its amplitude."""
    responses = np.zeros((3, 4000))
    responses[:, 0] = 1
    responses[[0, 1, 2], DELAYS] = 0.5
    return responses


def recording(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Make a recording (samples,) in int16."""
    return rng.integers(-8000, 8000, samples).astype(np.int16)


def test_short_recordings_are_repeated(rng):
    found = excerpt(np.arange(5, dtype=np.int16), 12, rng) * 32768
    assert len(found) == 12
    assert set(np.diff(found) % 5) == {1}


@pytest.mark.parametrize("kind", MADE)
def test_noise_is_drawn_anew(rng, rooms, kind):
    voices = [recording(rng, 5000) for _ in range(9)]
    one, other = (make_noise(kind, LENGTH, rng, voices, rooms) for _ in range(2))
    assert one.shape == other.shape == (LENGTH,)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.9


def test_white_noise_is_flat_and_pink_noise_falls(rng, rooms):
    def slope(kind: str) -> float:
        """Power around 4 kHz relative to that around 400 Hz, in dB."""
        power = np.abs(np.fft.rfft(make_noise(kind, LENGTH, rng, [], rooms))) ** 2
        return 10 * np.log10(power[7000:9000].mean() / power[700:900].mean())

    assert abs(slope("white")) < 1.5
    assert slope("pink") < -5  # 7 to 22 dB a decade


def test_rooms_change_and_their_reverberation_goes_on(rng, rooms):
    dry = recording(rng, 45 * SAMPLE_RATE)
    wet = in_rooms(dry, rooms, rng)
    assert len(wet) == len(dry)

    echo, block = wet - dry / 32768, 10 * SAMPLE_RATE
    starts = range(0, len(dry), block)
    delays = [
        next(
            d
            for d in DELAYS
            if np.allclose(echo[s + 4000 : s + 5000], dry[s + 4000 - d : s + 5000 - d] / 65536)
        )
        for s in starts
    ]
    assert len(set(delays)) > 1
    for start, before, after in zip(starts[1:], delays, delays[1:], strict=False):
        heard = np.zeros(4000)
        heard[:before] += dry[start - before : start] / 65536
        heard[after:] += dry[start : start + 4000 - after] / 65536
        assert np.allclose(echo[start : start + 4000], heard)
