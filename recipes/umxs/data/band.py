"""A band that plays MIDI: who plays what, on which instrument, through which amplifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import mido
import numpy as np
from effects import amplified, compressed, doubled, in_room, narrowed, toned
from kits import Kit, find_kits, voice_of_note
from packages import Cache
from parts import DRUMS, Event, split, transposed
from patterns import Hit
from synthesizer import SAMPLE_RATE, Room, Synth

__all__ = ["Band", "Performance", "bass_mixed", "drums_mixed"]

_FONTS = {
    "musescore-general-soundfont": "usr/share/sounds/sf3/MuseScore_General_Full.sf3",
    "fluid-soundfont-gm": "usr/share/sounds/sf2/FluidR3_GM.sf2",
    "fluidr3mono-gm-soundfont": "usr/share/sounds/sf3/FluidR3Mono_GM.sf3",
    "timgm6mb-soundfont": "usr/share/sounds/sf2/TimGM6mb.sf2",
}
_SHARES = (0.4, 0.35, 0.1, 0.15)
_KITS = "avldrums.lv2-soundfont"
_KIT_FONTS = ("Black_Pearl_4_LV2.sf2", "Red_Zeppelin_4_LV2.sf2")
# Standard, room, power, electronic, analog, jazz, brush.
_GM_KITS = (0, 8, 16, 24, 25, 32, 40)
_GM_KIT_SHARES = (0.3, 0.2, 0.25, 0.06, 0.06, 0.08, 0.05)
_BASSES = (32, 33, 34, 35, 36, 37, 38, 39)
_BASS_SHARES = (0.1, 0.3, 0.3, 0.05, 0.05, 0.05, 0.08, 0.07)
# Nylon, steel, jazz, clean, muted, overdriven, distorted.
_GUITARS = (24, 25, 26, 27, 28, 29, 30)
_GUITAR_SHARES = (0.05, 0.25, 0.08, 0.2, 0.07, 0.2, 0.15)
_DISTORTED = (29, 30)


class Performance(NamedTuple):
    """What a band played.

    Attributes
    ----------
    stems : dict of str to numpy.ndarray [shape=(samples, 2)]
        Drums, bass and other, as far as the tune has them.
    packages : list of str
        The packages whose sounds are in them.
    """

    stems: dict[str, np.ndarray]
    packages: list[str]


class Band:
    """Plays tunes part by part.

    Parameters
    ----------
    cache : Cache
        Where sounds come from.
    """

    rate = SAMPLE_RATE

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.synth = Synth(cache)
        self.kits = list(find_kits(cache))

    def play(self, tune: Sequence[Event], seconds: float, rng: np.random.Generator) -> Performance:
        """Play a tune with instruments, a room, and a key drawn for it.

        Parameters
        ----------
        tune : sequence of Event
            What to play.
        seconds : float
            How long.
        rng : numpy.random.Generator
            Draws everything.

        Returns
        -------
        Performance
            The stems and the packages used.
        """
        package = str(rng.choice(list(_FONTS), p=_SHARES))
        font = self.cache.fetch(package) / _FONTS[package]
        room = Room.drawn(rng)
        parts = split(transposed(tune, int(rng.integers(-3, 4))), _programs(rng))
        sounds = {}
        packages = {package}
        for name, part in parts.items():
            if name == "drums":
                sounds[name], used = self._drummed(part, package, seconds, room, rng)
                packages.add(used)
            else:
                sounds[name] = self.synth.render(part, font, seconds, room)
        hard = any(_is_distorted(event) for event in parts.get("guitar", []))
        return Performance(_mixed(sounds, hard, rng), sorted(packages))

    def _drummed(
        self, part: list[Event], package: str, seconds: float, room: Room, rng: np.random.Generator
    ) -> tuple[np.ndarray, str]:
        """Play drums on a kit of General MIDI or a sampled one; say from which package."""
        drawn = rng.random()
        if drawn < 0.3:
            kit = int(rng.choice(_GM_KITS, p=_GM_KIT_SHARES))
            font = self.cache.fetch(package) / _FONTS[package]
            return self.synth.render(_with_kit(part, kit), font, seconds, room), package
        if drawn < 0.55:
            font = self.cache.fetch(_KITS) / "usr/share/sounds/sf2" / str(rng.choice(_KIT_FONTS))
            return self.synth.render(_on_sampled_kit(part), font, seconds, room), _KITS
        used, folder = self.kits[rng.integers(len(self.kits))]
        sound = Kit(folder, SAMPLE_RATE).play(list(_hits(part)), seconds, rng)
        wet = rng.uniform(0.0, 0.4)
        return in_room(sound, SAMPLE_RATE, rng, rng.uniform(0.2, 1.0), wet), used


def _programs(rng: np.random.Generator) -> dict[int, int]:
    """Draw instruments that replace those a tune asks for."""
    bass = int(rng.choice(_BASSES, p=_BASS_SHARES))
    guitars = {program: int(rng.choice(_GUITARS, p=_GUITAR_SHARES)) for program in range(24, 32)}
    if rng.random() < 0.4:  # as the composer wanted
        guitars = {}
    # Keys become guitars, since bands of guitars are what tunes of games lack.
    keys = {}
    if rng.random() < 0.35:
        guitar = int(rng.choice(_GUITARS, p=_GUITAR_SHARES))
        keys = dict.fromkeys(range(8), guitar)
    basses = dict.fromkeys(_BASSES, bass) if rng.random() < 0.7 else {}
    return {**guitars, **keys, **basses}


def _with_kit(part: list[Event], kit: int) -> list[Event]:
    """Play drums on a kit of General MIDI."""
    kept = [event for event in part if not _sets_kit(event)]
    return [Event(0.0, mido.Message("program_change", channel=DRUMS, program=kit)), *kept]


def _on_sampled_kit(part: list[Event]) -> list[Event]:
    """Play drums on a font that has its kit where others have a piano, and one bass drum."""
    moved = []
    for time, message in part:
        if message.channel == DRUMS and message.type in ("note_on", "note_off"):
            note = 36 if message.note == 35 else message.note
            moved.append(Event(time, message.copy(channel=0, note=note)))
    return moved


def _hits(part: Iterable[Event]) -> Iterator[Hit]:
    """Read the strokes of drums."""
    for time, message in part:
        if message.channel == DRUMS and message.type == "note_on" and message.velocity:
            voice = voice_of_note(message.note)
            if voice:
                yield Hit(time, voice, message.velocity / 127)


def _sets_kit(event: Event) -> bool:
    """Whether a message chooses the kit."""
    return event.message.type == "program_change" and event.message.channel == DRUMS


def _is_distorted(event: Event) -> bool:
    """Whether a message chooses an overdriven guitar."""
    return event.message.type == "program_change" and event.message.program in _DISTORTED


def _mixed(
    sounds: dict[str, np.ndarray], hard: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Send each part through its devices and sum guitars and the rest."""
    stems = {}
    if "drums" in sounds:
        stems["drums"] = drums_mixed(sounds["drums"], rng)
    if "bass" in sounds:
        stems["bass"] = bass_mixed(sounds["bass"], rng)
    other = []
    if "guitar" in sounds:
        other.append(_guitar(sounds["guitar"], hard, rng))
    if "rest" in sounds:
        gain = 10 ** (rng.uniform(-6, 3) / 20)
        other.append(gain * compressed(sounds["rest"], SAMPLE_RATE, rng.uniform(1, 3)))
    if other:
        stems["other"] = toned(sum(other), SAMPLE_RATE, rng.uniform(-8, 2), rng.uniform(-4, 4))
    return stems


def drums_mixed(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress drums and draw their tone; records often have them in the centre."""
    sound = narrowed(sound, 0.0 if rng.random() < 0.4 else rng.uniform(0.2, 1.0))
    sound = toned(sound, SAMPLE_RATE, rng.uniform(-3, 10), rng.uniform(-8, 4))
    return compressed(sound, SAMPLE_RATE, rng.uniform(1, 5))


def bass_mixed(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress a bass, mostly through an amplifier; records have it in the centre."""
    sound = np.repeat(sound.mean(axis=1, keepdims=True), 2, axis=1)
    sound = compressed(sound, SAMPLE_RATE, rng.uniform(2, 5))
    if rng.random() < 0.6:
        wet = amplified(sound, SAMPLE_RATE, rng.uniform(-12, 10), rng.uniform(2000, 6000), 30.0)
        share = rng.uniform(0.3, 1.0)
        sound = share * wet + (1 - share) * sound
    return toned(sound, SAMPLE_RATE, rng.uniform(-5, 5), rng.uniform(-6, 6))


def _guitar(sound: np.ndarray, hard: bool, rng: np.random.Generator) -> np.ndarray:
    """Amplify guitars: hard where they are distorted, a little or not at all otherwise."""
    if hard or rng.random() < 0.5:
        drive = rng.uniform(0, 18) if hard else rng.uniform(-12, 0)
        sound = amplified(sound, SAMPLE_RATE, drive, rng.uniform(3500, 7500))
    if rng.random() < 0.5:
        sound = doubled(sound, SAMPLE_RATE, rng.uniform(0.008, 0.03), rng.uniform(0.4, 1.0))
    return compressed(sound, SAMPLE_RATE, rng.uniform(1, 3))
