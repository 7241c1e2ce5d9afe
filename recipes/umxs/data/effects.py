"""What a studio does to a part: amplifiers, compressors, rooms. Sound is (samples, channels)."""

from __future__ import annotations

import numpy as np
from scipy import signal

__all__ = ["amplified", "compressed", "doubled", "dulled", "in_room", "level", "narrowed", "toned"]

_OVERSAMPLING = 2


def level(sound: np.ndarray) -> float:
    """Root mean square of the blocks of half a second that are within 20 dB of the loudest."""
    block = 22050
    usable = len(sound) // block * block
    if not usable:
        return float(np.sqrt(np.mean(sound**2)))
    power = np.mean(sound[:usable] ** 2, axis=1).reshape(-1, block).mean(axis=1)
    return float(np.sqrt(power[power >= 0.01 * power.max()].mean()))


def compressed(
    sound: np.ndarray, rate: int, ratio: float, threshold: float = -3.0, seconds: float = 0.03
) -> np.ndarray:
    """Compress the dynamics of all channels together.

    Parameters
    ----------
    sound : numpy.ndarray [shape=(samples, channels)]
        The sound.
    rate : int
        Sample rate in Hz.
    ratio : float >= 1
        Decibels of input for one decibel of output above the threshold.
    threshold : float
        In dB relative to the sound's level.
    seconds : float
        Time in which the measured level follows the sound.

    Returns
    -------
    numpy.ndarray [shape=(samples, channels)], float32
        The compressed sound.
    """
    pole = np.exp(-1 / (seconds * rate))
    power = signal.lfilter([1 - pole], [1, -pole], np.mean(sound.astype(float) ** 2, axis=1))
    limit = (level(sound) * 10 ** (threshold / 20)) ** 2 + 1e-12
    gain = np.maximum(power / limit, 1.0) ** (0.5 * (1 / ratio - 1))
    return (sound * gain[:, None]).astype(np.float32)


def amplified(
    sound: np.ndarray, rate: int, drive: float, bright: float, low: float = 80.0
) -> np.ndarray:
    """Play a sound through an overdriven amplifier and its loudspeaker.

    Parameters
    ----------
    sound : numpy.ndarray [shape=(samples, channels)]
        The sound.
    rate : int
        Sample rate in Hz.
    drive : float
        Decibels by which the level of the sound exceeds where the amplifier saturates.
    bright : float
        Hz above which the loudspeaker falls off.
    low : float
        Hz below which it falls off.

    Returns
    -------
    numpy.ndarray [shape=(samples, channels)], float32
        The amplified sound at the level of the original.
    """
    before = level(sound)
    if not before:
        return sound
    scaled = (sound * (10 ** (drive / 20) / before)).astype(np.float32)
    fast = signal.resample_poly(scaled, _OVERSAMPLING, 1, axis=0)
    # The bias makes the two halves of the wave saturate differently, as valves do.
    bent = signal.resample_poly(np.tanh(fast + 0.2) - np.tanh(0.2), 1, _OVERSAMPLING, axis=0)
    speaker = np.concatenate(
        [
            signal.butter(2, low, "highpass", fs=rate, output="sos"),
            signal.butter(3, bright, "lowpass", fs=rate, output="sos"),
        ]
    )
    played = signal.sosfilt(speaker, bent[: len(sound)], axis=0)
    return (played * (before / max(level(played), 1e-9))).astype(np.float32)


def doubled(sound: np.ndarray, rate: int, seconds: float, width: float) -> np.ndarray:
    """Set a part and its repetition, slightly late, to the two sides.

    Parameters
    ----------
    sound : numpy.ndarray [shape=(samples, 2)]
        The part.
    rate : int
        Sample rate in Hz.
    seconds : float
        How late the repetition is.
    width : float
        0 for both in the centre, 1 for one on each side.

    Returns
    -------
    numpy.ndarray [shape=(samples, 2)], float32
        Both.
    """
    first = sound.mean(axis=1)
    late = round(seconds * rate)
    second = np.pad(first, (late, 0))[: len(first)]
    near, far = (1 + width) / 2, (1 - width) / 2
    return np.stack([near * first + far * second, far * first + near * second], 1).astype(
        np.float32
    )


def dulled(sound: np.ndarray, rate: int, cutoff: float) -> np.ndarray:
    """Turn down the tone of an electric instrument: 12 dB an octave above a frequency in Hz."""
    knob = signal.butter(2, cutoff, "lowpass", fs=rate, output="sos")
    return signal.sosfilt(knob, sound, axis=0).astype(np.float32)


def in_room(
    sound: np.ndarray, rate: int, rng: np.random.Generator, seconds: float, wet: float
) -> np.ndarray:
    """Add the reverberation of a room, made of noise that fades, differently on each side.

    Parameters
    ----------
    sound : numpy.ndarray [shape=(samples, 2)]
        The dry sound.
    rate : int
        Sample rate in Hz.
    rng : numpy.random.Generator
        Draws the room.
    seconds : float
        Time in which the reverberation falls by 60 dB.
    wet : float
        Level of the reverberation relative to the dry sound.

    Returns
    -------
    numpy.ndarray [shape=(samples, 2)], float32
        The sound in the room.
    """
    time = np.arange(round(seconds * rate)) / rate
    response = rng.standard_normal((len(time), 2)) * 10 ** (-3 * time / seconds)[:, None]
    # Walls and air swallow treble, and small rooms hold no bass.
    damping = signal.butter(
        1, [rng.uniform(100, 250), rng.uniform(4000, 9000)], "bandpass", fs=rate, output="sos"
    )
    response = signal.sosfilt(damping, response, axis=0)
    response = np.pad(response, ((round(rng.uniform(0.002, 0.02) * rate), 0), (0, 0)))
    response /= np.sqrt(np.sum(response**2, axis=0))
    echo = signal.oaconvolve(sound, response, axes=0)[: len(sound)]
    return (sound + wet * echo).astype(np.float32)


def toned(sound: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """Raise or lower the bass below about 150 Hz and the treble above about 4 kHz.

    Parameters
    ----------
    sound : numpy.ndarray [shape=(samples, channels)]
        The sound.
    rate : int
        Sample rate in Hz.
    low, high : float
        Gains in dB.

    Returns
    -------
    numpy.ndarray [shape=(samples, channels)], float32
        The sound with another tone.
    """
    bass = signal.butter(1, 150, "lowpass", fs=rate, output="sos")
    treble = signal.butter(1, 4000, "highpass", fs=rate, output="sos")
    changed = (
        sound
        + (10 ** (low / 20) - 1) * signal.sosfilt(bass, sound, axis=0)
        + (10 ** (high / 20) - 1) * signal.sosfilt(treble, sound, axis=0)
    )
    return changed.astype(np.float32)


def narrowed(sound: np.ndarray, width: float) -> np.ndarray:
    """Bring the two sides together.

    Parameters
    ----------
    sound : numpy.ndarray [shape=(samples, 2)]
        The sound.
    width : float
        1 changes nothing, 0 makes both sides equal.

    Returns
    -------
    numpy.ndarray [shape=(samples, 2)]
        The narrowed sound.
    """
    middle = sound.mean(axis=1, keepdims=True)
    return middle + width * (sound - middle)
