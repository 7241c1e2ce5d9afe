"""Sampled drum kits in Hydrogen's format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import soundfile
import soxr
from packages import Cache
from patterns import Hit

__all__ = ["Kit", "find_kits", "voice_of", "voice_of_note"]

# The first that matches is what an instrument is; the order keeps "Snare Rimshot" a snare.
_VOICES = {
    "kick": r"kick|bass ?drum|thump",
    "stick": r"stick(?!s)|rim click|clave",
    "snare": r"snare",
    "clap": r"clap",
    "hat_pedal": r"(hat|hh).*(pedal|pd)|pedal (hat|hh)",
    "hat_open": r"(hat|hh).*(op|semi|free|swish)|open (hat|hh)|side ohh",
    "hat_closed": r"hat|hh",
    "tom_low": r"tom.*(low|floor)|(low|floor).*tom",
    "tom_high": r"tom.*(hi|1$)|(hi|high) tom",
    "tom_mid": r"tom|conga|bongo",
    "ride": r"ride",
    "crash": r"crash|cymbal|china|splash",
}
# What to play where a kit lacks a voice.
_SUBSTITUTES = {
    "stick": "snare",
    "hat_pedal": "hat_closed",
    "hat_open": "hat_closed",
    "ride": "hat_closed",
    "tom_low": "tom_mid",
    "tom_high": "tom_mid",
    "tom_mid": "snare",
    "crash": "hat_open",
}
_CHOKE = 0.03
_PACKAGES = ("hydrogen-drumkits", "hydrogen-data")
# Hands and loops are not played as kits.
_NOT_KITS = re.compile("afrique|gimme|strums|beats", re.IGNORECASE)
# The percussion of General MIDI that a kit has.
_NOTES = {
    "kick": (35, 36),
    "stick": (37,),
    "snare": (38, 40),
    "clap": (39,),
    "hat_closed": (42,),
    "hat_pedal": (44,),
    "hat_open": (46,),
    "tom_low": (41, 43),
    "tom_mid": (45, 47),
    "tom_high": (48, 50),
    "crash": (49, 52, 55, 57),
    "ride": (51, 53, 59),
}
_VOICE_OF_NOTE = {note: voice for voice, notes in _NOTES.items() for note in notes}


def voice_of(name: str) -> str | None:
    """Return which voice of a kit an instrument is, by its name; `None` if it is none."""
    plain = name.lower().partition("(")[0]
    for voice, pattern in _VOICES.items():
        if re.search(pattern, plain):
            return voice
    return None


def voice_of_note(note: int) -> str | None:
    """Return which voice of a kit a drum of General MIDI is; `None` if kits lack it."""
    return _VOICE_OF_NOTE.get(note)


def find_kits(cache: Cache) -> Iterator[tuple[str, Path]]:
    """Yield the folders of all kits, each with the package it is from."""
    for package in _PACKAGES:
        for file in sorted(cache.fetch(package).rglob("drumkit.xml")):
            if not _NOT_KITS.search(file.parent.name):
                yield package, file.parent


class _Layer(NamedTuple):
    """A sample and the loudness up to which it is played."""

    top: float
    gain: float
    sound: np.ndarray


class Kit:
    """A drum kit.

    Parameters
    ----------
    folder : Path
        Folder with `drumkit.xml` and samples.
    rate : int
        Rate in Hz to play at.
    """

    def __init__(self, folder: Path, rate: int) -> None:
        self.rate = rate
        self.voices: dict[str, list[list[_Layer]]] = {}
        root = ElementTree.parse(folder / "drumkit.xml").getroot()
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        for instrument in root.iter("instrument"):
            voice = voice_of(instrument.findtext("name") or "")
            layers = list(_layers(instrument, folder, rate)) if voice else []
            if voice and layers:
                self.voices.setdefault(voice, []).append(layers)

    def play(self, hits: Iterable[Hit], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Play strokes.

        Parameters
        ----------
        hits : iterable of Hit
            The strokes.
        seconds : float
            Length of the result.
        rng : numpy.random.Generator
            Draws which of several instruments play, the balance and small differences.

        Returns
        -------
        numpy.ndarray [shape=(samples, 2)], float32
            The sound.
        """
        chosen = {
            voice: variants[rng.integers(len(variants))] for voice, variants in self.voices.items()
        }
        balance = {voice: 10 ** (rng.normal(0, 2.5) / 20) for voice in chosen}
        sound = np.zeros((round(seconds * self.rate), 2), np.float32)
        for hit in hits:
            voice = self._available(hit.voice)
            if voice is None:
                continue
            start = round(hit.time * self.rate)
            stroke = _stroke(chosen[voice], hit.loudness, rng) * balance[voice]
            stroke = stroke[: len(sound) - start]
            if voice.startswith("hat"):
                stroke = self._until_next_hat(stroke, hit, hits)
            sound[start : start + len(stroke)] += stroke
        return sound

    def _available(self, voice: str) -> str | None:
        """Return the voice itself or what stands in for it."""
        while voice not in self.voices:
            if voice not in _SUBSTITUTES:
                return None
            voice = _SUBSTITUTES[voice]
        return voice

    def _until_next_hat(self, stroke: np.ndarray, hit: Hit, hits: Iterable[Hit]) -> np.ndarray:
        """Let a hi-hat sound until it is struck or closed again."""
        following = (
            other.time for other in hits if other.voice.startswith("hat") and other.time > hit.time
        )
        length = round((next(following, hit.time + 60) - hit.time) * self.rate)
        fade = round(_CHOKE * self.rate)
        stroke = stroke[: length + fade].copy()
        if len(stroke) == length + fade:
            stroke[length:] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
        return stroke


def _layers(instrument: ElementTree.Element, folder: Path, rate: int) -> Iterable[_Layer]:
    """Yield the samples of an instrument."""
    elements = list(instrument.iter("layer"))
    # Kits of old versions have one sample and no layers.
    for element in elements or [instrument]:
        path = folder / (element.findtext("filename") or "")
        if not path.is_file() or float(element.findtext("min") or 0) >= 1:
            continue
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        samples = samples[:, [0, -1]] if samples.shape[1] < 3 else samples[:, :2]
        sound = soxr.resample(samples, sample_rate, rate)
        gain = float(element.findtext("gain") or 1)
        yield _Layer(float(element.findtext("max") or 1), gain, sound.astype(np.float32))


def _stroke(layers: list[_Layer], loudness: float, rng: np.random.Generator) -> np.ndarray:
    """Return a sample for a loudness; neighbouring layers stand in for each other."""
    ordered = sorted(layers, key=lambda layer: layer.top)
    wanted = next((i for i, layer in enumerate(ordered) if loudness <= layer.top), len(ordered) - 1)
    index = int(np.clip(wanted + rng.choice([-1, 0, 0, 1]), 0, len(ordered) - 1))
    layer = ordered[index]
    # Layers hold their own loudness; within them, and where there is one only, gain does it.
    exponent = 1.5 if len(ordered) == 1 else 0.7
    return layer.sound * np.float32(layer.gain * loudness**exponent * rng.uniform(0.93, 1.07))
