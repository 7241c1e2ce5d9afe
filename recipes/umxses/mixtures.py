"""Speech in noise, mixed anew for every item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from scipy.fft import irfft, next_fast_len, rfft
from torch.utils.data import Dataset
from voices import SAMPLE_RATE

from openunmix.training import Example

__all__ = ["Material", "NoisySpeech", "scaled_noise"]

_SOURCES = ("speech", "noise")
_SPEECH_LEVEL = (-27.0, 6.0)  # mean and standard deviation in dB of full scale
_SNR = (-5.0, 15.0)
_DRY = 0.25
_NO_SPEECH = _NO_NOISE = 0.04
_TWO_NOISES = 0.2
_OTHER_SPEED = 0.6
# What the noise is: a recording, voices behind the voice, or made by the code.
_KINDS = ("scene", "babble", "hum", "white", "pink")
_SHARES = (0.68, 0.14, 0.06, 0.05, 0.07)


class Material:
    """What mixtures are made of.

    Parameters
    ----------
    path : Path
        ``train.npz`` or ``valid.npz``.

    Attributes
    ----------
    voices, noises : dict of str to numpy.ndarray [shape=(samples,)], int16
        Speech by speaker and noise by scene.
    rooms : numpy.ndarray [shape=(count, samples)]
        Impulse responses.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            content = {name: file[name] for name in file.files}
        self.rooms = content.pop("rooms")
        kinds = {"voice": {}, "noise": {}}
        for name, waveform in content.items():
            kind, _, plain = name.partition(":")
            kinds[kind][plain] = waveform
        self.voices, self.noises = kinds["voice"], kinds["noise"]

    def speech(self, voice: str, length: int, rng: np.random.Generator) -> np.ndarray:
        """Take an excerpt in which there is speech: (length,)."""
        for _ in range(8):
            found = excerpt(self.voices[voice], length, rng)
            if np.square(found).mean() > 3e-4:
                break
        return found

    def room(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a room: (samples,)."""
        return self.rooms[rng.integers(len(self.rooms))]

    def noise(
        self, kind: str, length: int, rng: np.random.Generator, voice: str | None = None
    ) -> np.ndarray:
        """Make noise of a kind, or of a scene: (length,). Babble leaves out a voice."""
        if kind == "babble":
            others = [name for name in self.voices if name != voice]
            return sum(
                in_room(excerpt(self.voices[others[i]], length, rng), self.room(rng))
                for i in rng.integers(len(others), size=rng.integers(4, 9))
            )
        if kind == "hum":
            return hum(length, rng)
        if kind in ("white", "pink"):
            return coloured(length, 0.0 if kind == "white" else rng.uniform(0.7, 2.2), rng)
        if kind == "scene":
            kind = list(self.noises)[rng.integers(len(self.noises))]
        return excerpt(self.noises[kind], length, rng)


def excerpt(recording: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Take an excerpt (length,) from anywhere; a recording that is too short begins again."""
    start = rng.integers(len(recording))
    found = recording[start : start + length]
    if len(found) < length:
        found = np.resize(np.concatenate([found, recording]), length)
    return found.astype(np.float32) / 32768


def coloured(length: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Make noise (length,) whose power falls as frequency to the power of ``slope``."""
    spectrum = rfft(rng.standard_normal(length))
    spectrum *= np.arange(1, len(spectrum) + 1) ** (-slope / 2)
    return irfft(spectrum, length)


def hum(length: int, rng: np.random.Generator) -> np.ndarray:
    """Make the hum of mains (length,): harmonics of 50 or 60 Hz over faint noise."""
    time = np.arange(length) / SAMPLE_RATE
    base = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
    sound = 0.01 * rng.standard_normal(length)
    for harmonic in range(1, rng.integers(4, 30)):
        level = rng.uniform(0, 1) / harmonic ** rng.uniform(0.3, 1.5)
        sound += level * np.sin(2 * np.pi * (harmonic * base * time + rng.uniform()))
    return sound


def in_room(dry: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Convolve with an impulse response, and keep the length."""
    size = next_fast_len(len(dry) + len(room), real=True)
    return irfft(rfft(dry, size) * rfft(room, size), size)[: len(dry)]


def tilted(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the timbre (samples,) smoothly, by some 4 dB, as microphones do."""
    spectrum = rfft(sound)
    bands = np.linspace(0, 1, 6)
    gains = np.interp(np.linspace(0, 1, len(spectrum)), bands, rng.normal(0, 4, size=6))
    return irfft(spectrum * 10 ** (gains / 20), len(sound))


def scaled_noise(speech: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Scale noise to a signal-to-noise ratio in dB: that of the powers of both excerpts."""
    power = np.square(speech).mean() / max(np.square(noise).mean(), 1e-10)
    return noise * np.sqrt(power * 10 ** (-snr / 10))


class NoisySpeech(Dataset[Example]):
    """Speech and noise, drawn from material: an item follows from the seed and its index.

    Parameters
    ----------
    material : Material
        Voices, noises and rooms.
    count : int
        How many items there are.
    duration : float
        Seconds of an item.
    targets : sequence of str
        What to estimate, of ``"speech"`` and ``"noise"``.
    seed : int
        Seed of all random numbers.
    """

    def __init__(
        self,
        material: Material,
        count: int,
        duration: float,
        targets: Sequence[str] = _SOURCES,
        seed: int = 0,
    ) -> None:
        self.material = material
        self.count = count
        self.length = round(duration * SAMPLE_RATE)
        self.chosen = [_SOURCES.index(target) for target in targets]
        self.seed = seed
        self.voices = list(material.voices)
        # A voice with four times as much speech is heard twice as often.
        amounts = np.sqrt([len(material.voices[voice]) for voice in self.voices])
        self.shares = amounts / amounts.sum()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        """Return a mixture and what to estimate."""
        rng = np.random.default_rng([self.seed, index])
        voice = self.voices[rng.choice(len(self.voices), p=self.shares)]
        speech = self._speech(voice, rng)
        noise = self._noise(voice, rng)
        noise = scaled_noise(speech, noise, rng.uniform(*_SNR))
        both = np.stack([speech, noise]) * 10 ** (rng.normal(*_SPEECH_LEVEL) / 20)
        both /= max(np.sqrt(np.square(speech).mean()), 1e-4)
        both /= max(1.0, np.abs(both.sum(axis=0)).max())
        what = rng.uniform()
        if what < _NO_SPEECH:
            both[0] = 0
        elif what > 1 - _NO_NOISE:
            both[1] = 0
        sources = torch.from_numpy(both.astype(np.float32))[:, None]
        return Example(sources.sum(dim=0), sources[self.chosen])

    def _speech(self, voice: str, rng: np.random.Generator) -> np.ndarray:
        """Draw speech (samples,), at another speed and so another pitch, and put it in a room."""
        speed = float(np.exp(rng.uniform(-0.17, 0.17))) if rng.uniform() < _OTHER_SPEED else 1.0
        length = samples_at(speed, self.length)
        speech = at_speed(self.material.speech(voice, length, rng), speed, self.length)
        if rng.uniform() > _DRY:
            speech = in_room(speech, self.material.room(rng))
        return tilted(speech, rng)

    def _noise(self, voice: str, rng: np.random.Generator) -> np.ndarray:
        """Draw noise (samples,)."""
        noise = np.zeros(self.length)
        for _ in range(1 + (rng.uniform() < _TWO_NOISES)):
            kind = rng.choice(_KINDS, p=_SHARES)
            speed = float(np.exp(rng.uniform(-0.25, 0.25))) if kind == "scene" else 1.0
            length = samples_at(speed, self.length)
            one = at_speed(self.material.noise(kind, length, rng, voice), speed, self.length)
            noise += one / max(np.sqrt(np.square(one).mean()), 1e-4) * 10 ** rng.uniform(-0.5, 0)
        return tilted(noise, rng)


def samples_at(speed: float, length: int) -> int:
    """Count the samples that, played at a speed, are enough for a length."""
    return length if speed == 1.0 else round(length * speed) + 2


def at_speed(sound: np.ndarray, speed: float, length: int) -> np.ndarray:
    """Play a sound (samples,) at a speed, and cut it to a length."""
    if speed != 1.0:
        sound = soxr.resample(sound, speed, 1.0, quality="QQ")
    return np.resize(sound, length)
