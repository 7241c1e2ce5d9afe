"""A small dataset for evaluation, and estimates of its tracks."""

from __future__ import annotations

import soundfile

from helpers import sounds as synth
from openunmix.evaluate import find_tracks

__all__ = ["RATE", "TARGETS", "stems", "write_estimates"]

RATE = 8000
TARGETS = ("vocals", "drums")


def stems(seed=0, samples=2 * RATE):
    """Return two sources that overlap in frequency."""
    return {
        "vocals": synth.tone(samples, 300 + 50 * seed) + synth.noise(samples, seed=seed),
        "drums": synth.noise(samples, seed=seed + 100, amplitude=0.2),
    }


def write_estimates(dataset, folder, leak=0.3):
    """Write estimates of the tracks, as of another program."""
    for track in find_tracks(dataset):
        audio = track.read()
        place = folder / track.name
        place.mkdir(parents=True, exist_ok=True)
        for name, stem in audio.sources.items():
            estimate = stem + leak * (audio.mixture - stem)
            soundfile.write(place / f"{name}.wav", estimate.T.numpy(), RATE, "FLOAT")
    return folder
