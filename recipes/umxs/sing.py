"""Make speech sing: ``python recipes/umxs/sing.py DATA OUTPUT``.

DATA is that of ``recipes/umxses/data.py``: there are more readers than singers with free stems.
The vocoder WORLD [1]_ takes speech apart: its pitch, its spectral envelope, and how much of it is
noise. Vowels are made longer, the pitch becomes a melody, and the voice a little larger or smaller.
OUTPUT gets two minutes a voice, at 16 kHz. It needs ``pip install pyworld``.

References
----------
.. [1] M. Morise, F. Yokomori, K. Ozawa, "WORLD: a vocoder-based high-quality speech synthesis
   system for real-time applications", IEICE Transactions on Information and Systems E99-D(7), 2016.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import pyworld
import soundfile
from scipy.ndimage import uniform_filter1d

_RATE = 16000
_FRAME = 0.005  # seconds
_CLIP = 8  # seconds of speech that are changed together
_WANTED = 140  # seconds of singing of a voice
_TIMES = 3  # how often its speech may be sung, where there is little of it
_TRIES = 60
_VOICED = 0.2  # share of a clip that has a pitch, at least
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))
_STEPS = (-4, -2, -1, -1, 0, 1, 1, 2, 4)  # of the scale, from note to note
_BEATS = (0.5, 1, 1, 2, 3)


def main() -> None:
    """Write a file for every voice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for path in sorted(args.data.glob("train/*/speech.flac")):
        voice = path.parent.name
        rng = np.random.default_rng(zlib.crc32(f"voice:{voice}".encode()))
        sung = sung_voice(soundfile.read(path)[0], rng)
        if sung is not None:
            soundfile.write(args.output / f"{voice}.flac", sung, _RATE)
            print(f"{voice}: {len(sung) / _RATE:.0f} s")


def sung_voice(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Return singing (samples,) made of the speech (samples,) of a voice, if it has a pitch."""
    length = min(_CLIP * _RATE, len(speech))
    most = min(_WANTED * _RATE, _TIMES * len(speech))
    clips: list[np.ndarray] = []
    for _ in range(_TRIES):
        start = rng.integers(len(speech) - length + 1)
        clip = sung(np.ascontiguousarray(speech[start : start + length]), rng)
        clips += [] if clip is None else [clip]
        if sum(map(len, clips)) >= most:
            break
    return np.concatenate(clips) if clips else None


def sung(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Let a clip (samples,) sing; None if hardly any of it has a pitch."""
    pitch, time = pyworld.dio(speech, _RATE, f0_floor=65, f0_ceil=500, frame_period=1e3 * _FRAME)
    pitch = pyworld.stonemask(speech, pitch, time, _RATE)
    voiced = pitch > 0
    if voiced.mean() < _VOICED:
        return None
    envelope = np.log(pyworld.cheaptrick(speech, pitch, time, _RATE) + 1e-16)
    noise = pyworld.d4c(speech, pitch, time, _RATE)

    place = slower(voiced, envelope, rng)
    melody = sung_pitch(len(place), float(np.median(pitch[voiced])), rng)
    melody[~voiced[np.round(place).astype(int)]] = 0
    envelope = resized(between(envelope, place), np.exp(rng.uniform(-0.12, 0.12)))
    singing = pyworld.synthesize(
        melody,
        np.ascontiguousarray(np.exp(envelope)),
        np.ascontiguousarray(between(noise, place)),
        _RATE,
        1e3 * _FRAME,
    )
    return np.tanh(0.08 * singing / max(np.sqrt(np.square(singing).mean()), 1e-4))


def slower(voiced: np.ndarray, envelope: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tell which frame of the speech is heard in every frame of the singing: (frames,)."""
    level = np.exp(envelope).mean(axis=1)
    vowel = (uniform_filter1d(voiced.astype(float), 7) > 0.95) & (level > np.median(level))
    lasts = np.where(vowel, rng.uniform(1.2, 3.0), np.where(voiced, 1.2, 0.7))
    begins = np.concatenate([[0], np.cumsum(lasts)[:-1]])
    return np.interp(np.arange(int(begins[-1])), begins, np.arange(len(begins)))


def between(frames: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Interpolate frames (frames, bins) at places (count,): (count, bins)."""
    before = place.astype(int)
    after = np.minimum(before + 1, len(frames) - 1)
    share = (place - before)[:, None]
    return (1 - share) * frames[before] + share * frames[after]


def resized(envelope: np.ndarray, factor: float) -> np.ndarray:
    """Stretch spectral envelopes (frames, bins) along frequency, as those of a smaller head are."""
    bins = np.arange(envelope.shape[1])
    return np.stack([np.interp(bins / factor, bins, frame) for frame in envelope])


def sung_pitch(count: int, middle: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a melody around a voice's middle pitch in Hz: pitches (count,) in Hz, with vibrato."""
    low = 12 * np.log2(middle) + rng.uniform(-2, 5)
    scale = np.asarray(_SCALES[rng.integers(len(_SCALES))])
    notes = np.floor(low) - 12 + np.concatenate([scale + 12 * octave for octave in range(5)])
    lowest, rate, depth = np.searchsorted(notes, low), rng.uniform(4.8, 6.5), rng.uniform(0, 0.6)
    beat = rng.uniform(0.25, 0.6)
    parts, number = [], lowest + 4
    while sum(map(len, parts)) < count:
        time = np.arange(max(round(beat * rng.choice(_BEATS) / _FRAME), 20)) * _FRAME
        swing = depth * np.clip((time - 0.15) / 0.25, 0, 1) * np.sin(2 * np.pi * rate * time)
        parts.append(notes[number] + swing)
        number = int(np.clip(number + rng.choice(_STEPS), lowest - 1, lowest + 12))
    melody = uniform_filter1d(np.concatenate(parts)[:count], int(rng.integers(6, 20)))
    return 2 ** (melody / 12)


if __name__ == "__main__":
    main()
