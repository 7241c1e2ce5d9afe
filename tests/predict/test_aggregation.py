"""Residual and sums of estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.sounds import noise

from openunmix.predict.aggregation import aggregate, resolve_aggregation

TARGETS = ["vocals", "drums"]


def test_every_estimate_is_an_output_of_its_own_by_default():
    assert resolve_aggregation(TARGETS) == {"vocals": ["vocals"], "drums": ["drums"]}
    assert list(resolve_aggregation(TARGETS, "rest")) == ["vocals", "drums", "rest"]


@pytest.mark.parametrize("parts", [[], ["bass"], ["vocals", "rest"]])
def test_sums_of_what_is_not_there_are_refused(parts):
    with pytest.raises(ValueError, match="cannot make 'a' from"):
        resolve_aggregation(TARGETS, None, {"a": parts})


def test_residual_cannot_have_the_name_of_a_target():
    with pytest.raises(ValueError, match="a target is"):
        resolve_aggregation(TARGETS, "drums")


def test_outputs_are_the_same_for_tensors_and_arrays():
    mixture = noise(100)
    estimates = {name: noise(100, seed=seed) for seed, name in enumerate(TARGETS, 1)}
    aggregation = {"a": ["vocals", "rest"], "b": ["drums"]}
    tensors = aggregate(mixture, estimates, aggregation, "rest")
    arrays = {name: estimate.numpy() for name, estimate in estimates.items()}
    arrays = aggregate(mixture.numpy(), arrays, aggregation, "rest")
    torch.testing.assert_close(sum(tensors.values()), mixture)
    for name, waveform in tensors.items():
        np.testing.assert_array_equal(arrays[name], waveform)
    assert tensors["b"] is estimates["drums"]
