"""The network: 1.3.0's numbers, without its defects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import golden as reference
from helpers.checks import difference

from openunmix.model import OpenUnmix
from openunmix.transforms.fourier import STFTConfig


@pytest.mark.parametrize(
    ("prefix", "given_", "expected"),
    [
        ("stereo/a", "spectrogram/input", "spectrogram/a"),
        ("causal/a", "causal/input", "causal/output"),
    ],
)
def test_network_computes_what_it_does_in_1_3_0(prefix, given_, expected):
    network = reference.network(prefix)
    actual = network(reference.tensor(given_)[None])[0]
    assert difference(actual, reference.tensor(expected)) < reference.TOLERANCE[0]


def test_published_network_has_the_names_and_shapes_of_1_3_0():
    network = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    dense = {"fc1.weight": (512, 2974), "fc2.weight": (512, 1024), "fc3.weight": (4098, 512)}
    statistics = {"input_mean": (1487,), "input_scale": (1487,)}
    affine = {"output_scale": (2049,), "output_mean": (2049,)}
    recurrent = {
        f"lstm.{name}_l{layer}{direction}": shape
        for name, shape in {
            "weight_ih": (1024, 512),
            "weight_hh": (1024, 256),
            "bias_ih": (1024,),
            "bias_hh": (1024,),
        }.items()
        for layer in range(3)
        for direction in ("", "_reverse")
    }
    normalisation = {
        f"bn{number}.{name}": shape if name != "num_batches_tracked" else ()
        for number, shape in {1: (512,), 2: (512,), 3: (4098,)}.items()
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert shapes == dense | statistics | affine | recurrent | normalisation


def test_statistics_are_stored_as_what_is_added_and_multiplied():
    mean, scale = np.linspace(1, 2, 65), np.linspace(2, 4, 65)
    network = OpenUnmix(nb_bins=65, hidden_size=8, input_mean=mean, input_scale=scale, max_bin=40)
    torch.testing.assert_close(network.input_mean.detach().double(), torch.tensor(-mean[:40]))
    torch.testing.assert_close(network.input_scale.detach().double(), torch.tensor(1 / scale[:40]))


def test_statistics_given_are_left_as_they_were():
    mean = torch.full((65,), 3.0)
    network = OpenUnmix(nb_bins=65, hidden_size=8, input_mean=mean)
    with torch.no_grad():
        network.input_mean.zero_()
    assert (mean == 3).all()


def test_statistics_of_too_few_bins_are_refused():
    with pytest.raises(ValueError, match=r"input_scale has shape \(30,\).*\(40,\)"):
        OpenUnmix(nb_bins=65, max_bin=40, hidden_size=8, input_scale=np.ones(30))


def test_odd_width_is_refused_for_two_directions_only():
    with pytest.raises(ValueError, match="hidden_size=7"):
        OpenUnmix(nb_bins=65, hidden_size=7)
    OpenUnmix(nb_bins=65, hidden_size=7, unidirectional=True)


def test_power_of_the_input_changes_what_is_seen_not_what_is_masked(tiny_network, generator):
    network, plain = tiny_network(compression=0.25), tiny_network()
    magnitude = torch.rand(20, 3, 2, 65, generator=generator)
    torch.testing.assert_close(network.mask(magnitude), plain.mask(magnitude**0.25))
    estimate = network(magnitude.permute(1, 2, 3, 0)).permute(3, 0, 1, 2)
    torch.testing.assert_close(estimate, network.mask(magnitude) * magnitude)


def test_power_of_the_input_is_kept_with_the_weights_only_if_it_is_not_1(tiny_network):
    assert "compression" not in tiny_network().state_dict()
    assert tiny_network(compression=0.25).state_dict()["compression"] == 0.25


@pytest.mark.parametrize("power", [0, -1, 1.5, float("nan")])
def test_power_of_the_input_that_does_not_compress_is_refused(power):
    with pytest.raises(ValueError, match=f"compression={power} must be more than 0"):
        OpenUnmix(nb_bins=65, hidden_size=8, compression=power)


@pytest.mark.parametrize(
    "other",
    [
        {"nb_bins": 33},
        {"nb_channels": 1},
        {"hidden_size": 6},
        {"nb_layers": 2},
        {"unidirectional": True},
        {"max_bin": 40},
        {"compression": 0.25},
    ],
)
def test_architecture_makes_a_network_of_the_same_shapes(tiny_network, other):
    network = tiny_network(**other)
    stft = STFTConfig(2 * (network.nb_output_bins - 1), 16)
    bandwidth = (network.nb_bins - 1) / stft.n_fft * stft.sample_rate
    architecture = replace(network.architecture, bandwidth=bandwidth)
    again = architecture.build(stft, network.nb_channels)
    again.load_state_dict(network.state_dict())
    assert again.architecture == architecture
    options = {name: value for name, value in other.items() if name in vars(architecture)}
    assert vars(again.architecture).items() >= options.items()


def test_network_refuses_a_spectrogram_of_another_shape(tiny_network):
    with pytest.raises(ValueError, match=r"channels=1 and bins=65.*channels=2 and bins=65"):
        tiny_network()(torch.zeros(1, 1, 65, 10))
    with pytest.raises(ValueError, match="bins=64"):
        tiny_network()(torch.zeros(1, 2, 64, 10))


def test_bins_above_the_bandwidth_are_masked_but_not_looked_at(tiny_network, generator):
    network = tiny_network(max_bin=30)
    magnitude = torch.rand(1, 2, 65, 20, generator=generator)
    louder = magnitude.clone()
    louder[:, :, 30:] *= 5
    estimate = network(magnitude)
    assert (estimate[:, :, 30:] > 0).any()
    torch.testing.assert_close(network(louder)[:, :, :30], estimate[:, :, :30])
    torch.testing.assert_close(network(louder)[:, :, 30:], 5 * estimate[:, :, 30:])


def test_causal_network_does_not_look_ahead(tiny_network, generator):
    magnitude = torch.rand(1, 2, 65, 20, generator=generator)
    changed = magnitude.clone()
    changed[..., 12:] += 1
    for unidirectional in (True, False):
        network = tiny_network(unidirectional=unidirectional)
        same = torch.allclose(network(changed)[..., :12], network(magnitude)[..., :12])
        assert same == unidirectional


def test_items_of_a_batch_do_not_see_each_other(tiny_network, generator):
    network = tiny_network()
    magnitude = torch.rand(3, 2, 65, 20, generator=generator)
    alone = torch.cat([network(item[None]) for item in magnitude])
    torch.testing.assert_close(network(magnitude), alone)


def test_network_leaves_its_input_as_it_was(tiny_network, generator):
    magnitude = torch.rand(2, 2, 65, 20, generator=generator)
    before = magnitude.clone()
    with torch.no_grad():
        tiny_network()(magnitude)
    assert torch.equal(magnitude, before)


def test_freezing_ends_dropout_and_gradients(tiny_network, tiny_separator, generator):
    magnitude = torch.rand(1, 2, 65, 20, generator=generator)
    for module in (tiny_network().train(), tiny_separator().train()):
        module.freeze()
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
    network = tiny_network().train()
    network.freeze()
    assert torch.equal(network(magnitude), network(magnitude))
