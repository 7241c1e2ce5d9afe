"""Folded networks compute what the modules do."""

from __future__ import annotations

import pytest
import torch
from helpers.checks import decibels, difference

from openunmix.predict._folded import FoldedNetworks

ARCHITECTURES = [
    {},
    {"max_bin": 30},
    {"nb_channels": 1, "max_bin": 41},
    {"unidirectional": True},
    {"nb_layers": 1},
    {"compression": 0.25},
    {"hidden_size": 12, "nb_layers": 2},
]


def estimate(folded, index, magnitude):
    """Run one network on (frames, channels, bins)."""
    features = folded.encode(magnitude)
    hidden, _ = folded.run_recurrent(index, features, len(features), None)
    return decode(folded, index, features, hidden, magnitude)


def decode(folded, index, features, hidden, magnitude):
    """Return the estimate of a network."""
    estimated = torch.empty_like(magnitude)
    folded.decode(index, features, hidden, magnitude, estimated)
    return estimated


@pytest.fixture
def _no_grad():
    with torch.no_grad():
        yield


@pytest.mark.usefixtures("_no_grad")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_changes_rounding_only(tiny_network, generator, architecture):
    network = tiny_network(**architecture)
    magnitude = 3 * torch.rand(40, network.nb_channels, 65, generator=generator)
    actual = estimate(FoldedNetworks([network]), 0, magnitude)
    expected = network(magnitude.permute(1, 2, 0)[None])[0].permute(2, 0, 1)
    assert difference(actual, expected) < 1e-5


@pytest.mark.usefixtures("_no_grad")
def test_networks_of_different_shapes_share_an_input(tiny_network, generator):
    networks = [
        tiny_network(1),
        tiny_network(2, hidden_size=12, max_bin=20),
        tiny_network(3, hidden_size=6, compression=0.25),
        tiny_network(4),
    ]
    folded = FoldedNetworks(networks)
    magnitude = torch.rand(30, 2, 65, generator=generator)
    before = magnitude.clone()
    for index, network in enumerate(networks):
        expected = network(magnitude.permute(1, 2, 0)[None])[0].permute(2, 0, 1)
        assert difference(estimate(folded, index, magnitude), expected) < 1e-5
    assert torch.equal(magnitude, before)


@pytest.mark.usefixtures("_no_grad")
def test_frames_are_encoded_and_decoded_one_by_one(tiny_network, generator):
    folded = FoldedNetworks([tiny_network()])
    magnitude = torch.rand(30, 2, 65, generator=generator)
    features = folded.encode(magnitude)
    torch.testing.assert_close(folded.encode(magnitude[20:]), features[20:])
    hidden, _ = folded.run_recurrent(0, features, 30, None)
    whole = decode(folded, 0, features, hidden, magnitude)
    part = decode(folded, 0, features[20:], hidden[20:], magnitude[20:])
    torch.testing.assert_close(part, whole[20:])


@pytest.mark.usefixtures("_no_grad")
@pytest.mark.parametrize("architecture", [{}, {"unidirectional": True}])
def test_recurrent_layers_go_on_where_they_were(tiny_network, generator, architecture):
    folded = FoldedNetworks([tiny_network(**architecture)])
    features = torch.rand(30, 8, generator=generator)
    whole, _ = folded.run_recurrent(0, features, 30, None)
    first, states = folded.run_recurrent(0, features, 20, None)
    second, _ = folded.run_recurrent(0, features[20:], 10, states)
    torch.testing.assert_close(torch.cat([first, second]), whole)


@pytest.mark.usefixtures("_no_grad")
@pytest.mark.parametrize("unidirectional", [False, True])
def test_half_precision_is_close_and_leaves_the_network_alone(
    tiny_network, generator, unidirectional
):
    network = tiny_network(unidirectional=unidirectional)
    magnitude = torch.rand(40, 2, 65, generator=generator)
    state = torch.get_rng_state()
    folded = FoldedNetworks([network], torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), state)
    actual = estimate(folded, 0, magnitude)
    expected = network(magnitude.permute(1, 2, 0)[None])[0].permute(2, 0, 1)
    assert actual.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert -80 < decibels(actual - expected, expected) < -30


@pytest.mark.usefixtures("_no_grad")
def test_double_precision_networks_are_folded_in_single_precision(tiny_network, generator):
    magnitude = torch.rand(40, 2, 65, generator=generator)
    expected = estimate(FoldedNetworks([tiny_network()]), 0, magnitude)
    actual = estimate(FoldedNetworks([tiny_network().double()]), 0, magnitude)
    assert actual.dtype == torch.float32
    assert difference(actual, expected) < 1e-5
