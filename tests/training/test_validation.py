"""Validation: scores of whole tracks."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import sounds as synth
from torch import nn

from openunmix.data.tracks import Track, TrackAudio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import Separator
from openunmix.training import TrainingConfig
from openunmix.training.validation import median_scores, separator_of, track_scores
from openunmix.transforms.fourier import STFTConfig


class Half(nn.Module):
    """A network that estimates half of the mixture."""

    def forward(self, magnitude):
        return magnitude / 2


def track(name, sources, mixture=None):
    """Return a track of these sources."""
    mixture = sum(sources.values()) if mixture is None else mixture
    return TrackAudio(Track(name), 44100, mixture, sources)


def two_sources(name, seed):
    """Return a track of two sources of noise."""
    noises = {n: synth.noise(2000, seed=seed + k) for k, n in enumerate(["vocals", "drums"])}
    return track(name, noises)


@pytest.mark.parametrize("residual", [False, True])
def test_scores_are_those_of_the_estimates(residual):
    networks = {"vocals": Half(), "drums": Half()}
    separator = Separator(networks, n_fft=128, n_hop=32, residual=residual).eval()
    tracks = [two_sources("first", 1), two_sources("second", 5)]
    scores = track_scores(separator, tracks)
    assert list(scores) == ["first", "second"]
    for one in tracks:
        estimate = one.mixture / 2
        assert scores[one.name] == pytest.approx(
            {
                "vocals": float(sdr_mdx21(one.sources["vocals"], estimate)),
                "drums": float(sdr_mdx21(one.sources["drums"], estimate)),
            },
            abs=1e-3,
        )


def test_silent_stem_has_no_score(tiny_separator):
    sources = {"vocals": synth.noise(2000), "drums": torch.zeros(2, 2000)}
    [scores] = track_scores(tiny_separator(), [track("instrumental", sources)]).values()
    assert math.isfinite(scores["vocals"])
    assert math.isnan(scores["drums"])


def test_median_is_over_the_songs_in_which_a_target_sounds():
    scores = {
        "a": {"vocals": 1.0, "drums": 5.0, "bass": math.nan},
        "b": {"vocals": math.nan, "drums": math.inf, "bass": math.nan},
        "c": {"vocals": 2.0, "drums": 7.0, "bass": math.nan},
        "d": {"vocals": 9.0, "drums": 6.0, "bass": math.nan},
    }
    medians = median_scores(scores)
    assert math.isnan(medians.pop("bass"))  # and not an error after an hour of training
    assert medians == {"vocals": 2.0, "drums": 6.0}


@pytest.mark.parametrize("nb_channels", [1, 2])
def test_separator_of_networks_is_the_one_that_users_get(tiny_network, nb_channels):
    networks = {"vocals": tiny_network(1, nb_channels=nb_channels).train()}
    stft = STFTConfig(128, 32, 8000.0)
    config = TrainingConfig(("vocals",), stft=stft, nb_channels=nb_channels)
    separator = separator_of(networks, config)
    assert separator.sources == ["vocals"]
    assert (separator.niter, float(separator.sample_rate)) == (1, 8000.0)
    assert not any(module.training for module in separator.modules())
    assert separator(synth.noise(500, channels=nb_channels)).shape == (1, nb_channels, 500)
