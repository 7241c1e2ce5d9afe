"""Evaluation scores what ``umx`` writes."""

from __future__ import annotations

import pytest
import soundfile
import torch
from helpers import sounds as synth
from helpers.commands import exit_code
from helpers.models import save_model

from openunmix.audio import read_audio
from openunmix.evaluate import find_tracks
from openunmix.evaluate.system import Estimator, System
from openunmix.pretrained import resolve_model

TARGETS = ("vocals", "drums")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("rate", "samples"), [(8000, 70_001), (11025, 150_001)])
def test_estimates_are_the_files_that_umx_writes(tmp_path, tiny_separator, rate, samples, channels):
    """Evaluation separated whole signals in memory once, umx streams of blocks."""
    model = save_model(tmp_path / "tiny", tiny_separator(TARGETS))
    song = tmp_path / "tracks" / "test" / "song"
    song.mkdir(parents=True)
    stems = {name: synth.noise(samples, channels, seed=seed) for seed, name in enumerate(TARGETS)}
    mixture = sum(stems.values()) + synth.tone(samples, channels=channels)
    for name, waveform in (stems | {"mixture": mixture}).items():
        soundfile.write(song / f"{name}.wav", waveform.T.numpy(), rate, "FLOAT")

    out = ["--outdir", tmp_path / "out", "--residual"]
    assert exit_code(song / "mixture.wav", "--model", model, *out, "--quiet") == 0
    system = System(resolve_model(model), targets=TARGETS, residual=True)
    (track,) = find_tracks(tmp_path / "tracks")
    estimates = Estimator(system).estimates(track.read())
    assert list(estimates) == [*TARGETS, "residual"]
    for name, estimate in estimates.items():
        written = read_audio(tmp_path / "out" / "mixture" / f"{name}.wav").waveform
        assert torch.equal(estimate, written)
