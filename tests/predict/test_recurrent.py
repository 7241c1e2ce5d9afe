"""A recurrent layer in sequences gives what it gives in one."""

from __future__ import annotations

import pytest
import torch
from helpers.checks import difference
from torch import nn

from openunmix.predict._recurrent import run_layer


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def make_layer(forgets, enters):
    """Return a layer with these biases of the gates."""
    torch.manual_seed(1)
    layer = nn.LSTM(5, 4)
    layer.weight_hh_l0[:] *= 0.1
    layer.bias_ih_l0[:4] += enters
    layer.bias_ih_l0[4:8] += forgets
    return layer


@pytest.fixture
def forgetful():
    """Return a layer whose memory fades within some frames."""
    return make_layer(-2.0, 0.0)


@pytest.fixture
def faithful():
    """Return a layer that remembers its first frames for thousands."""
    return make_layer(10.0, -3.0)


@pytest.mark.parametrize("frames", [2048, 2049, 2051, 3000, 7001])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("kind", ["forgetful", "faithful"])
def test_sequences_join_without_a_trace(request, kind, frames, begun):
    layer = request.getfixturevalue(kind)
    data = torch.randn(frames, 5)
    state = (torch.randn(1, 4), torch.randn(1, 4)) if begun else None
    expected, (last, cell) = layer(data, state)
    actual, after = run_layer(layer, data, state)
    assert difference(actual, expected) < 1e-3
    assert difference(after[0], last) < 1e-3
    assert difference(after[1], cell) < 1e-3


def test_only_what_is_not_forgotten_is_computed_again(forgetful, faithful, monkeypatch):
    shapes = []
    forward = nn.LSTM.forward

    def watched(self, data, state=None):
        shapes.append(tuple(data.shape[:-1]))
        return forward(self, data, state)

    monkeypatch.setattr(nn.LSTM, "forward", watched)
    data = torch.randn(4096, 5)
    run_layer(faithful, data)
    again = sum(shape[0] for shape in shapes[1:])
    assert shapes[0] == (1216, 4)
    assert 1000 < again <= 4096 - 1216
    shapes.clear()
    run_layer(forgetful, data)
    assert shapes == [(1216, 4)]
    run_layer(forgetful, data, exact=True)
    assert shapes[1:] == [(4096,)]


def test_few_frames_are_one_sequence(faithful):
    data = torch.randn(2047, 5)
    assert torch.equal(run_layer(faithful, data)[0], faithful(data)[0])


def test_the_state_goes_on_in_the_next_frames(forgetful):
    data = torch.randn(6000, 5)
    exact, _ = forgetful(data)
    first, state = run_layer(forgetful, data[:3000])
    second, _ = run_layer(forgetful, data[3000:], state)
    assert difference(torch.cat([first, second]), exact) < 1e-3
