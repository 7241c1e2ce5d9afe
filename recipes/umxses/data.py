"""Make the data of umxses: ``python recipes/umxses/data.py CACHE NOISE DATA``.

CACHE takes Debian packages. NOISE is a folder of folders of noise recordings, one scene a file.
DATA gets ``train.npz`` and ``valid.npz`` with voices, noises and rooms, ``split.json`` that lists
who and what is in which, and the copyright files of the packages.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
from rooms import simulated_rooms
from voices import PACKAGES, SAMPLE_RATE, VALIDATION_VOICES, voices_of

from openunmix.audio import read_audio, resample

_ROOMS = {"train": 400, "valid": 60}
_PAUSES = (0.05, 0.45)  # seconds between two clips of a voice
_LEAST_SPEECH = 5  # seconds of a voice
_NOT_NOISE = ("silence",)
_LONGEST_NOISE = 180  # seconds kept of a scene

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
    for seed, split in enumerate(("train", "valid")):
        heard = {"voice": VALIDATION_VOICES, "noise": VALIDATION_SCENES}
        chosen = {
            f"{kind}:{name}": waveform
            for kind, found in (("voice", voices), ("noise", noises))
            for name, waveform in found.items()
            if (name in heard[kind]) == (split == "valid")
        }
        summary[split] = {name: len(one) // SAMPLE_RATE for name, one in chosen.items()}
        rooms = simulated_rooms(_ROOMS[split], seed)
        np.savez(args.data / f"{split}.npz", rooms=rooms, **chosen)
        print(f"{split}: {sum(summary[split].values())} s in {len(chosen)} voices and scenes")
    (args.data / "split.json").write_text(json.dumps(summary, indent=2) + "\n")


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
