"""The signal-to-distortion ratio, by values that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import sounds as synth

from openunmix.evaluate.metrics import sdr_mdx21, si_sdr


def test_error_of_a_tenth_is_twenty_decibels():
    reference = synth.noise(1000)
    assert float(sdr_mdx21(reference, 0.9 * reference)) == pytest.approx(20, abs=1e-4)
    assert float(sdr_mdx21(reference, 1.1 * reference)) == pytest.approx(20, abs=1e-4)


def test_ratio_is_of_sums_over_all_channels_and_samples():
    reference = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    estimate = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert float(sdr_mdx21(reference, estimate)) == pytest.approx(10 * math.log10(25 / 5))


def test_silence_perfection_and_nothing_to_estimate():
    reference = synth.noise(1000)
    assert float(sdr_mdx21(reference, torch.zeros_like(reference))) == 0
    assert float(sdr_mdx21(reference, reference)) == math.inf
    assert math.isnan(sdr_mdx21(torch.zeros_like(reference), reference))
    assert math.isnan(sdr_mdx21(torch.zeros_like(reference), torch.zeros_like(reference)))


def test_scale_of_both_does_not_matter():
    reference, estimate = synth.noise(1000), synth.noise(1000, seed=1)
    small = sdr_mdx21(1e-5 * reference, 1e-5 * estimate)
    torch.testing.assert_close(small, sdr_mdx21(reference, estimate), atol=1e-4, rtol=0)


def test_sources_are_scored_one_by_one():
    references = torch.stack([synth.noise(500), synth.noise(500, seed=1)])
    estimates = torch.stack([0.9 * references[0], references[1] + 0.1])
    scores = sdr_mdx21(references, estimates)
    assert scores.shape == (2,)
    assert torch.equal(scores[1], sdr_mdx21(references[1], estimates[1]))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 10\).*\(2, 9\)"):
        sdr_mdx21(torch.zeros(2, 10), torch.zeros(2, 9))


def test_si_sdr_does_not_see_the_level_of_the_estimate():
    reference, error = synth.noise(8000), synth.noise(8000, seed=1)
    error -= (error * reference).sum() / reference.square().sum() * reference
    expected = 10 * math.log10(float(reference.square().sum() / (0.1 * error).square().sum()))
    for level in (0.01, 1, -3):
        score = float(si_sdr(reference, level * (reference + 0.1 * error)))
        assert score == pytest.approx(expected, abs=1e-4)


def test_si_sdr_of_wrong_panning_is_finite():
    reference = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # One factor for both channels: alpha is a half, what is left is a half in each channel.
    assert float(si_sdr(reference, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))) == pytest.approx(0)


def test_si_sdr_of_silence_perfection_and_nothing_in_common():
    reference = torch.tensor([[1.0, 0.0]])
    assert float(si_sdr(reference, 0.5 * reference)) == math.inf
    assert float(si_sdr(reference, reference.flip(-1))) == -math.inf
    assert math.isnan(si_sdr(reference, torch.zeros(1, 2)))
    assert math.isnan(si_sdr(torch.zeros(1, 2), reference))


def test_si_sdr_of_several_sources_and_of_shapes_that_differ():
    references = torch.stack([synth.noise(500), synth.noise(500, seed=1)])
    estimates = references + synth.noise(500, seed=2)
    assert torch.equal(
        si_sdr(references, estimates),
        torch.stack([si_sdr(r, e) for r, e in zip(references, estimates, strict=True)]),
    )
    with pytest.raises(ValueError, match=r"\(2, 10\).*\(2, 9\)"):
        si_sdr(torch.zeros(2, 10), torch.zeros(2, 9))
