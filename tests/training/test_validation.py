"""Scores of whole songs."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import sounds as synth
from torch import nn

from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import Separator
from openunmix.training.validation import ValidationTrack, median_scores, separator_of, track_scores


class Half(nn.Module):
    """A network that estimates half of the mixture."""

    def forward(self, magnitude):
        return magnitude / 2


def song(name, seed):
    """Make a song of two sources."""
    return ValidationTrack(
        name, torch.stack([synth.noise(2000, seed=seed), synth.noise(2000, seed=seed + 1)])
    )


@pytest.mark.parametrize("residual", [False, True])
def test_scores_are_those_of_the_estimates(residual):
    networks = {"vocals": Half(), "drums": Half()}
    separator = Separator(networks, n_fft=128, n_hop=32, residual=residual).eval()
    songs = [song("first", 1), song("second", 5)]
    scores = track_scores(separator, songs)
    assert list(scores) == ["first", "second"]
    for one in songs:
        estimate = one.sources.sum(dim=0) / 2
        assert scores[one.name] == pytest.approx(
            {
                "vocals": float(sdr_mdx21(one.sources[0], estimate)),
                "drums": float(sdr_mdx21(one.sources[1], estimate)),
            },
            abs=1e-3,
        )


def test_silent_stem_has_no_score(tiny_separator):
    sources = torch.stack([synth.noise(2000), torch.zeros(2, 2000)])
    [scores] = track_scores(tiny_separator(), [ValidationTrack("instrumental", sources)]).values()
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
    separator = separator_of(networks, sample_rate=8000.0, n_fft=128, n_hop=32)
    assert separator.sources == ["vocals"]
    assert (separator.niter, float(separator.sample_rate)) == (1, 8000.0)
    assert not any(module.training for module in separator.modules())
    assert separator(synth.noise(500, channels=nb_channels)).shape == (1, nb_channels, 500)


def test_songs_tell_whether_there_is_more_than_their_stems():
    sources = torch.stack([synth.noise(2000, seed=1), synth.noise(2000, seed=2)])
    assert not ValidationTrack("whole", sources).has_other_sources
    assert not ValidationTrack("whole", sources, sources.sum(dim=0) + 1e-5).has_other_sources
    assert ValidationTrack("part", sources[:1], sources.sum(dim=0)).has_other_sources
