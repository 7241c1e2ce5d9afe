"""Instruments of synthetic tracks: a shared score, and the signal (2, samples) of each source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]
_Array = npt.NDArray[np.floating]

_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
# Degrees of the scale on which the chords of four bars stand.
_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 0, 3, 4))
# Frequencies in Hz and levels of the first four formants of sung a, e, i, o and u.
_VOWELS = np.array(
    [
        [[650, 1.0], [1080, 0.5], [2650, 0.45], [2900, 0.4]],
        [[400, 1.0], [1700, 0.2], [2600, 0.25], [3200, 0.2]],
        [[290, 1.0], [1870, 0.18], [2800, 0.13], [3250, 0.1]],
        [[400, 1.0], [800, 0.32], [2600, 0.25], [2800, 0.25]],
        [[350, 1.0], [600, 0.1], [2700, 0.14], [2900, 0.2]],
    ]
)
_BANDWIDTH = 100.0  # Hz of a formant
_PERIOD = 4096  # samples of one period in a table


@dataclass(frozen=True)
class Plan:
    """Key, tempo and chords that the instruments of a track share."""

    samples: int
    sample_rate: int
    step: float  # samples of a sixteenth note
    first: int  # sixteenth of the four bars at which the track starts
    key: int  # MIDI number of the lowest tonic
    scale: tuple[int, ...]  # semitones of its degrees
    progression: tuple[int, ...]  # degree of the chord of each of four bars

    @property
    def steps(self) -> int:
        """Number of sixteenths in the track, the last one possibly cut."""
        return int(np.ceil(self.samples / self.step))

    def at(self, step: int) -> int:
        """Sample at which a sixteenth begins, at most the length of the track."""
        return min(int(step * self.step), self.samples)

    def place(self, step: int) -> int:
        """Index of a sixteenth within the four bars."""
        return (self.first + step) % 64

    def chord(self, step: int) -> int:
        """Degree of the chord at a sixteenth."""
        return self.progression[self.place(step) // 16]

    def frequency(self, degree: int, octave: int) -> float:
        """Hz of a degree of the scale, which may lie beyond the octave."""
        octaves, place = divmod(degree, 7)
        note = self.key + 12 * (octave + octaves) + self.scale[place]
        return float(440 * 2 ** ((note - 69) / 12))


def new_plan(generator: np.random.Generator, samples: int, sample_rate: int) -> Plan:
    """Draw key, tempo and chords."""
    return Plan(
        samples=samples,
        sample_rate=sample_rate,
        step=sample_rate * 15 / generator.uniform(80, 150),
        first=4 * int(generator.integers(16)),
        key=int(generator.integers(28, 40)),
        scale=_MAJOR if generator.random() < 0.6 else _MINOR,
        progression=_PROGRESSIONS[generator.integers(len(_PROGRESSIONS))],
    )


def vocals(plan: Plan, generator: np.random.Generator) -> Signal:
    """Sing a melody on vowels, gliding, with vibrato, and with rests."""
    octave = int(generator.integers(2, 4))
    counts, pitches, envelopes, vowels, degree, step = [], [], [], [], 2, 0
    for length in _rhythm(plan, generator, [2, 2, 3, 4, 6, 8]):
        counts.append(plan.at(step + length) - plan.at(step))
        degree = int(np.clip(degree + generator.integers(-2, 3), -1, 8))
        if plan.place(step) % 4 == 0:  # on the beat: a note of the chord
            degree = (plan.chord(step) + 2 * int(generator.integers(3))) % 9
        pitches.append(plan.frequency(degree, octave))
        rests = generator.random() < 0.12 and step > 0
        envelopes.append(_swell(counts[-1], plan.sample_rate) * (not rests))
        vowels.append(_formants(pitches[-1], int(generator.integers(5))))
        step += length
    glide = _smooth(np.log2(np.repeat(pitches, counts)), plan.sample_rate // 30)
    cycles = generator.uniform(4.5, 6.5) / plan.sample_rate * np.arange(plan.samples)
    vibrato = 0.02 * np.sin(2 * np.pi * cycles)
    voice = _oscillator(2 ** (glide + vibrato), np.stack(vowels), counts, plan.sample_rate)
    breath = generator.standard_normal(plan.samples, dtype=np.float32)
    voice = (voice + 0.03 * voice.std() * breath) * np.concatenate(envelopes)
    echo = np.concatenate([np.zeros(plan.sample_rate // 40, np.float32), voice])[: len(voice)]
    return np.stack([voice + 0.15 * echo, voice - 0.15 * echo])


def drums(plan: Plan, generator: np.random.Generator) -> Signal:
    """Play kick, snare and hi-hat in a pattern of one bar, with a few variations."""
    kit = [_kick(plan, generator), _snare(plan, generator), _hat(plan, generator)]
    sides = [0.0, 0.0, generator.uniform(-0.5, 0.5)]
    chances = np.zeros((3, 16))
    chances[0, [0, 8]], chances[0, generator.integers(16, size=2)] = 1.0, 0.7
    chances[1, [4, 12]], chances[1, generator.integers(16)] = 1.0, 0.25
    chances[2, :: int(generator.choice([1, 2, 2, 4]))] = 0.95
    signal = np.zeros((2, plan.samples), dtype=np.float32)
    for step in range(plan.steps):
        hit = generator.random(3) < chances[:, plan.place(step) % 16]
        for sound, side, plays in zip(kit, sides, hit, strict=True):
            if plays:
                start = plan.at(step)
                part = sound[: plan.samples - start] * np.float32(generator.uniform(0.6, 1))
                signal[:, start : start + len(part)] += _panned(part, side)
    return signal


def bass(plan: Plan, generator: np.random.Generator) -> Signal:
    """Play roots, fifths and octaves of the chords in a rhythm of one bar."""
    falls = generator.uniform(0.3, 1.2)
    counts, pitches, envelopes, step = [], [], [], 0
    for length in _rhythm(plan, generator, [2, 2, 4, 4, 8]):
        counts.append(plan.at(step + length) - plan.at(step))
        degree = plan.chord(step) + int(generator.choice([0, 0, 0, 4, 7]))
        pitches.append(plan.frequency(degree, 0))
        envelopes.append(_pluck(counts[-1], plan.sample_rate, falls))
        step += length
    weights = np.arange(1, 13) ** -generator.uniform(1.0, 2.2)
    signal = _oscillator(np.repeat(pitches, counts), weights[None], None, plan.sample_rate)
    signal *= np.concatenate(envelopes)
    return np.stack([signal, signal])


def other(plan: Plan, generator: np.random.Generator) -> Signal:
    """Play the chords, held or plucked, each note at a side of its own."""
    lengths = _rhythm(plan, generator, [[4, 4, 8], [2, 2, 4], [16]][generator.integers(3)])
    octave = int(generator.integers(1, 3))
    falls = generator.uniform(0.3, 3.0)
    starts = np.cumsum([0, *lengths[:-1]])
    counts = [plan.at(s + n) - plan.at(s) for s, n in zip(starts, lengths, strict=True)]
    envelope = np.concatenate([_pluck(count, plan.sample_rate, falls) for count in counts])
    weights = np.arange(1, 13) ** -generator.uniform(0.8, 1.8) * generator.uniform(0.2, 1, 12)
    signal = np.zeros((2, plan.samples), dtype=np.float32)
    for voice in range(3):
        pitches = [plan.frequency(plan.chord(step) + 2 * voice, octave) for step in starts]
        frequency = np.repeat(pitches, counts) * 2 ** generator.normal(0, 0.003)
        note = _oscillator(frequency, weights[None], None, plan.sample_rate)
        signal += _panned(note * envelope, generator.uniform(-0.8, 0.8))
    return signal


#: Player of every source, in the order of the sources.
PLAYERS = {"vocals": vocals, "drums": drums, "bass": bass, "other": other}


def _rhythm(plan: Plan, generator: np.random.Generator, choices: list[int]) -> list[int]:
    """Draw lengths of notes, in sixteenths, that fill the track."""
    lengths: list[int] = []
    while sum(lengths) < plan.steps:
        lengths.append(int(generator.choice(choices)))
    return lengths


def _oscillator(
    frequency: _Array, spectra: _Array, counts: list[int] | None, sample_rate: int
) -> Signal:
    """Play a pitch that changes in time, and a spectrum (notes, harmonics) that does by note.

    ``counts`` are the samples of every note. Each is read from a table of one period, without
    harmonics beyond what the rate allows.
    """
    highest = min(int(0.45 * sample_rate / float(frequency.max())), spectra.shape[1])
    bins = np.zeros((len(spectra), _PERIOD // 2 + 1))
    bins[:, 1 : highest + 1] = spectra[:, :highest]
    tables = np.fft.irfft(-1j * bins, axis=1).astype(np.float32)
    phase = (np.cumsum(frequency / sample_rate) % 1 * _PERIOD).astype(np.int64)
    if counts is not None:
        phase += np.repeat(_PERIOD * np.arange(len(spectra)), counts)
    return np.asarray(tables.ravel()[phase])


def _formants(pitch: float, vowel: int) -> _Array:
    """Amplitudes of 40 harmonics of a voice: a source that falls by 1/k, resonances on top."""
    harmonics = np.arange(1, 41)
    distance = harmonics[:, None] * pitch - _VOWELS[vowel, :, 0]
    resonance = (_VOWELS[vowel, :, 1] / (1 + (distance / _BANDWIDTH) ** 2)).sum(axis=1)
    return np.asarray((0.05 + resonance) / harmonics)


def _kick(plan: Plan, generator: np.random.Generator) -> Signal:
    """Make a sine that falls in pitch."""
    time = _time(plan, 0.35)
    low = generator.uniform(42, 60)
    cycles = np.cumsum(low + 140 * np.exp(-time / 0.03)) / plan.sample_rate
    return np.asarray(np.sin(2 * np.pi * cycles) * np.exp(-time / 0.11), dtype=np.float32)


def _snare(plan: Plan, generator: np.random.Generator) -> Signal:
    """Make noise with a short tone."""
    time = _time(plan, 0.3)
    noise = np.diff(generator.standard_normal(len(time)), prepend=0) * 0.35
    tone = np.sin(2 * np.pi * generator.uniform(160, 230) * time) * np.exp(-time / 0.04)
    return np.asarray(0.6 * tone + noise * np.exp(-time / 0.07), dtype=np.float32)


def _hat(plan: Plan, generator: np.random.Generator) -> Signal:
    """Make short noise of high frequency."""
    time = _time(plan, 0.15)
    noise = np.diff(generator.standard_normal(len(time)), n=3, prepend=[0, 0, 0])
    return np.asarray(
        0.08 * noise * np.exp(-time / generator.uniform(0.015, 0.05)), dtype=np.float32
    )


def _time(plan: Plan, duration: float) -> _Array:
    """Seconds of every sample of a sound."""
    return np.arange(int(duration * plan.sample_rate) + 1) / plan.sample_rate


def _swell(count: int, sample_rate: int) -> Signal:
    """Envelope of a sung note: up in 40 ms, down in 60 ms."""
    left = np.arange(count) / (0.04 * sample_rate)
    right = np.arange(count)[::-1] / (0.06 * sample_rate)
    return np.minimum(1, np.minimum(left, right)).astype(np.float32)


def _pluck(count: int, sample_rate: int, falls: float) -> Signal:
    """Envelope of a plucked note that decays to 1/e in ``falls`` seconds."""
    time = np.arange(count) / sample_rate
    return (np.exp(-time / falls) * _swell(count, 8 * sample_rate // 10)).astype(np.float32)


def _smooth(curve: _Array, width: int) -> _Array:
    """Average over the last ``width`` samples."""
    width = max(1, min(width, len(curve)))
    total = np.cumsum(np.concatenate([np.full(width, curve[0]), curve]))
    return np.asarray((total[width:] - total[:-width]) / width)


def _panned(signal: Signal, side: float) -> Signal:
    """Place a signal between left (-1) and right (1) at constant power."""
    angle = np.pi / 4 * (side + 1)
    return np.stack([np.cos(angle) * signal, np.sin(angle) * signal]).astype(np.float32)
