"""Oracles: better than the mixture, and consistent with it."""

from __future__ import annotations

import pytest
import torch
from helpers import sounds as synth
from helpers.evaluation import RATE, TARGETS, stems

from openunmix.audio import read_audio
from openunmix.evaluate import (
    System,
    evaluate_tracks,
    find_tracks,
)
from openunmix.evaluate.oracles import ideal_ratio_mask, multichannel_wiener_filter


@pytest.mark.parametrize("oracle", ["irm1", "irm2", "mwf"])
def test_oracles_are_better_than_the_mixture(dataset, tmp_path, oracle):
    tracks = find_tracks(dataset)[:1]
    best = evaluate_tracks(tracks, System(oracle=oracle, targets=TARGETS), tmp_path / "best")
    floor = evaluate_tracks(tracks, System(oracle="mixture", targets=TARGETS), tmp_path / "floor")
    for target in TARGETS:
        gain = best.scores[0].median(target, "SDR") - floor.scores[0].median(target, "SDR")
        assert gain > 3


def test_mixture_is_the_estimate_of_sums_and_of_the_residual_too(track_folder, tmp_path):
    # Three times the mixture would be no floor.
    sources = {**stems(), "bass": synth.tone(2 * RATE, 90.0)}
    files = {f"{name}.wav": waveform for name, waveform in sources.items()}
    root = track_folder("test/song", files).parents[1]
    sums = {"vocals": ["vocals"], "accompaniment": ["drums", "bass"], "rest": ["residual"]}
    system = System(
        oracle="mixture", targets=("vocals", "drums", "bass"), residual=True, aggregate=sums
    )
    evaluate_tracks(find_tracks(root), system, tmp_path / "s", tmp_path / "e")
    mixture = find_tracks(root)[0].read().mixture
    for name in sums:
        written = read_audio(tmp_path / "e" / "test" / "song" / f"{name}.wav").waveform
        torch.testing.assert_close(written, mixture)


@pytest.mark.parametrize("samples", [100, 5000, 150001])
@pytest.mark.parametrize("method", [ideal_ratio_mask, multichannel_wiener_filter])
def test_oracle_estimates_sum_to_the_mixture(method, samples):
    sources = torch.stack(list(stems(samples=samples).values()))
    estimates = method(sources.sum(dim=0), sources)
    assert estimates.shape == sources.shape
    torch.testing.assert_close(estimates.sum(dim=0), sources.sum(dim=0), atol=2e-4, rtol=0)


def test_wiener_filter_separates_what_only_panning_tells_apart():
    samples = 5 * RATE
    left = synth.panned(synth.noise(samples, channels=1), -0.8)
    right = synth.panned(synth.noise(samples, channels=1, seed=1), 0.8)
    sources = torch.stack([left, right])
    error = multichannel_wiener_filter(left + right, sources) - sources
    assert float(error.square().mean() / sources.square().mean()) < 1e-3
