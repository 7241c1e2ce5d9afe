"""A recurrent layer in sequences gives what it gives in one."""

from __future__ import annotations

import pytest
import torch
from compare import difference
from torch import nn

from openunmix._recurrence import run_layer


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def forgetful():
    """Return a layer whose memory fades by two thirds with every frame."""
    torch.manual_seed(1)
    layer = nn.LSTM(5, 4)
    layer.bias_ih_l0[4:8] -= 2.0  # of the forget gate
    layer.weight_hh_l0[:] *= 0.1
    return layer


@pytest.mark.parametrize("frames", [90, 91, 92, 200, 1000])
@pytest.mark.parametrize("begun", [False, True])
def test_sequences_join_without_a_trace(forgetful, frames, begun):
    data = torch.randn(frames, 5)
    state = (torch.randn(1, 4), torch.randn(1, 4)) if begun else None
    expected, (last, cell) = forgetful(data, state)
    actual, after = run_layer(forgetful, data, state, warmup=30)
    assert difference(actual, expected) < 1e-6
    assert difference(after[0], last) < 1e-6
    assert difference(after[1], cell) < 1e-6


def test_sequences_are_used_and_forget_no_sooner_than_asked(forgetful):
    data = torch.randn(300, 5)
    exact, _ = forgetful(data)
    hasty, _ = run_layer(forgetful, data, warmup=1)
    assert difference(hasty, exact) > 1e-3
    assert torch.equal(run_layer(forgetful, data)[0], exact)


def test_few_frames_are_one_sequence(forgetful):
    data = torch.randn(89, 5)
    assert torch.equal(run_layer(forgetful, data, warmup=30)[0], forgetful(data)[0])


def test_the_state_goes_on_in_the_next_frames(forgetful):
    data = torch.randn(300, 5)
    exact, _ = forgetful(data)
    first, state = run_layer(forgetful, data[:180], warmup=20)
    second, _ = run_layer(forgetful, data[180:], state, warmup=20)
    assert difference(torch.cat([first, second]), exact) < 1e-6
