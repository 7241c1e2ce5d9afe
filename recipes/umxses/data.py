"""Make the data of umxses: ``python recipes/umxses/data.py CACHE NOISE DATA``.

CACHE takes Debian packages. NOISE is a folder of folders of noise recordings, one scene a file.
DATA gets ``train/`` and ``valid/``, folders of tracks as ``umx-train`` reads them, more speech and
noise in ``reverberant/``, ``babble/``, ``hum/``, ``white/`` and ``pink/``, ``split.json`` that
lists who and what is in which split, and the copyright files of the packages.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from rooms import simulated_rooms
from sounds import MADE, excerpt, in_room, in_rooms, make_noise, speech_excerpt
from voices import PACKAGES, SAMPLE_RATE, VALIDATION_VOICES, voices_of

from openunmix.audio import read_audio, resample

_ROOMS = {"train": 400, "valid": 60}
_FILES = {"babble": 160, "hum": 100, "white": 10, "pink": 60}  # for training
_SECONDS = 30  # of each of them
_VALIDATION_SECONDS = 6
_VALIDATION_IN_ROOM = 0.7  # share of the speech
_LEVEL = 0.05  # RMS of speech and noise for validation
_PAUSES = (0.05, 0.45)  # seconds between two clips of a voice
_LEAST_SPEECH = 5  # seconds of a voice
_NOT_NOISE = ("silence",)
_LONGEST_NOISE = 180  # seconds kept of a scene

#: Speakers of the validation tracks.
SPEAKERS = ("asterisk-fr", "asterisk-it")

#: Scenes that are heard in validation only. Scenes of one kind from both collections stay
#: together, as one may be the other.
VALIDATION_SCENES = (
    "blanket/coffee-shop",
    "blanket/summer-night",
    "moodist/busy-street",
    "moodist/cafe",
    "moodist/construction-site",
    "moodist/inside-a-train",
    "moodist/keyboard",
    "moodist/office",
    "moodist/rain-on-window",
    "moodist/river",
    "moodist/seagulls",
    "moodist/subway-station",
    "moodist/vinyl-effect",
    "moodist/washing-machine",
    "moodist/wind-in-trees",
)


def main() -> None:
    """Write the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("noise", type=Path)
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)

    voices = all_voices(args.cache)
    noises = all_noises(args.noise)
    for package in PACKAGES:
        (copyright_file,) = (args.cache / package.name).glob("usr/share/doc/*/copyright")
        shutil.copy(copyright_file, args.data / f"{package.name}.copyright")
    summary = {}
    for seed, (split, write) in enumerate({"train": write_train, "valid": write_valid}.items()):
        spoken, recorded = (
            {name: one for name, one in found.items() if (name in held_out) == (split == "valid")}
            for found, held_out in ((voices, VALIDATION_VOICES), (noises, VALIDATION_SCENES))
        )
        write(args.data, spoken, recorded, simulated_rooms(_ROOMS[split], seed))
        named = {f"voice:{name}": one for name, one in spoken.items()}
        named |= {f"noise:{name}": one for name, one in recorded.items()}
        summary[split] = {name: len(one) // SAMPLE_RATE for name, one in named.items()}
        print(f"{split}: {sum(summary[split].values())} s in {len(named)} voices and scenes")
    (args.data / "split.json").write_text(json.dumps(summary, indent=2) + "\n")


def write_train(
    data: Path,
    voices: Mapping[str, np.ndarray],
    noises: Mapping[str, np.ndarray],
    rooms: np.ndarray,
) -> None:
    """Write dry and reverberant speech, and noise, in files that each hold one source."""
    rng = np.random.default_rng(2)
    for name, voice in voices.items():
        write_audio(data / "train" / name / "speech.flac", voice)
        write_audio(data / "reverberant" / f"{name}.flac", in_rooms(voice, rooms, rng))
    for name, scene in noises.items():
        write_audio(data / "train" / name.replace("/", "-") / "noise.flac", scene)
    for kind, count in _FILES.items():
        for number in range(count):
            sound = make_noise(kind, _SECONDS * SAMPLE_RATE, rng, [*voices.values()], rooms)
            path = data / kind / f"{number:03}.flac"
            write_audio(path, as_int16(sound * (0.5 / np.abs(sound).max())))


def write_valid(
    data: Path,
    voices: Mapping[str, np.ndarray],
    noises: Mapping[str, np.ndarray],
    rooms: np.ndarray,
) -> None:
    """Write a track of speech and noise of one power for every noise and speaker."""
    length = _VALIDATION_SECONDS * SAMPLE_RATE
    pairs = [(kind, speaker) for kind in (*noises, *MADE) for speaker in SPEAKERS]
    for place, (kind, speaker) in enumerate(pairs):
        rng = np.random.default_rng([1, place])
        speech = speech_excerpt(voices[speaker], length, rng)
        if rng.uniform() < _VALIDATION_IN_ROOM:
            speech = in_room(speech, rooms[rng.integers(len(rooms))])
        others = [voice for name, voice in voices.items() if name != speaker]
        if kind in noises:
            noise = excerpt(noises[kind], length, rng)
        else:
            noise = make_noise(kind, length, rng, others, rooms)
        both = np.stack([speech, noise])
        both *= _LEVEL / np.sqrt(np.square(both).mean(axis=1, keepdims=True))
        both /= max(1.0, np.abs(both).max())  # both, so that their ratio is kept
        for source, sound in zip(("speech", "noise"), both, strict=True):
            track = f"{kind.replace('/', '-')}.{speaker}"
            write_audio(data / "valid" / track / f"{source}.flac", sound)


def write_audio(path: Path, sound: np.ndarray) -> None:
    """Write a file (samples,), int16 or floats that are scaled down if they would clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if sound.dtype != np.int16:
        sound = as_int16(sound / max(1.0, np.abs(sound).max()))
    soundfile.write(path, sound, SAMPLE_RATE)


def all_voices(cache: Path) -> dict[str, np.ndarray]:
    """Read all speech: one waveform (samples,), int16, a speaker, with pauses between clips."""
    rng = np.random.default_rng(0)
    parts = defaultdict(list)
    for package in PACKAGES:
        for voice, clip in voices_of(package, cache):
            pause = np.zeros(round(rng.uniform(*_PAUSES) * SAMPLE_RATE), dtype=np.int16)
            parts[voice] += [as_int16(clip), pause]
        print(package.name)
    joined = {voice: np.concatenate(clips) for voice, clips in parts.items()}
    return {v: one for v, one in joined.items() if len(one) >= _LEAST_SPEECH * SAMPLE_RATE}


def all_noises(folder: Path) -> dict[str, np.ndarray]:
    """Read all noise: one waveform (samples,), int16, a scene."""
    noises = {}
    for path in sorted(folder.rglob("*.ogg")):
        if path.stem not in _NOT_NOISE:
            waveform, rate = read_audio(path, duration=_LONGEST_NOISE)
            mono = np.asarray(resample(waveform.mean(dim=0, keepdim=True), rate, SAMPLE_RATE))[0]
            name = path.relative_to(folder).with_suffix("").as_posix()
            noises[name] = as_int16(mono * (0.5 / max(1e-3, np.abs(mono).max())))
    return noises


def as_int16(waveform: np.ndarray) -> np.ndarray:
    """Return a waveform, full scale at 1, as 16-bit integers."""
    return np.round(waveform * 32767).clip(-32767, 32767).astype(np.int16)


if __name__ == "__main__":
    main()
