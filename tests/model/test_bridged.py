"""Networks that exchange features, as in CrossNet-Open-Unmix."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels

from openunmix.errors import CheckpointError
from openunmix.model import Architecture, OpenUnmix, Separator
from openunmix.model.sharing import masks
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.pretrained.folder import SeparatorConfig, save_config, save_network
from openunmix.transforms.fourier import STFTConfig
from openunmix.utils import load_separator

N_FFT, N_HOP = 256, 64


@pytest.fixture
def networks():
    """Two networks of random weights."""
    torch.manual_seed(3)
    return {
        target: OpenUnmix(nb_bins=N_FFT // 2 + 1, hidden_size=16, max_bin=100).eval()
        for target in ("vocals", "drums")
    }


def bridged(networks, **settings):
    """Make a separator of networks that share."""
    return Separator(networks, n_fft=N_FFT, n_hop=N_HOP, bridged=True, **settings).eval()


def test_bridged_networks_see_the_means_of_features_and_hidden_states(networks):
    magnitude = torch.rand(7, 3, 2, N_FFT // 2 + 1)
    one, two = networks.values()
    features = (one.encode(magnitude) + two.encode(magnitude)) / 2
    hidden = (one.lstm(features)[0] + two.lstm(features)[0]) / 2
    first, second = masks([one, two], magnitude, bridged=True)
    torch.testing.assert_close(first, one.decode(features, hidden))
    torch.testing.assert_close(second, two.decode(features, hidden))


def test_a_bridge_of_equal_networks_changes_nothing(networks):
    magnitude = torch.rand(7, 3, 2, N_FFT // 2 + 1)
    network = networks["vocals"]
    for mask in masks([network, network, network], magnitude, bridged=True):
        torch.testing.assert_close(mask, network.mask(magnitude))


def test_gradients_of_one_target_reach_all_bridged_networks(networks):
    magnitude = torch.rand(7, 3, 2, N_FFT // 2 + 1)
    masks(list(networks.values()), magnitude, bridged=True)[0].sum().backward()
    assert networks["drums"].fc1.weight.grad.abs().sum() > 0
    assert networks["drums"].lstm.weight_hh_l0.grad.abs().sum() > 0
    assert networks["drums"].fc2.weight.grad is None


@torch.no_grad()
@pytest.mark.parametrize("exact", [True, False])
def test_the_engine_bridges_as_the_separator_does(networks, exact):
    separator = bridged(networks, niter=1, residual=True)
    mixture = synth.mixture(40000)
    expected = separator(mixture[None])[0]
    actual = separate_waveform(separator, mixture, StreamConfig(exact=exact))
    assert decibels(actual - expected, expected) < -100
    alone = Separator(networks, n_fft=N_FFT, n_hop=N_HOP, niter=1, residual=True).eval()
    assert decibels(alone(mixture[None])[0] - expected, expected) > -40


def test_a_folder_says_whether_its_networks_are_bridged(networks, tmp_path):
    for target, network in networks.items():
        save_network(tmp_path, target, network)
    stft = STFTConfig(N_FFT, N_HOP)
    save_config(tmp_path, SeparatorConfig(stft))
    assert "bridged" not in json.loads((tmp_path / "separator.json").read_text())
    assert not load_separator(tmp_path).bridged
    save_config(tmp_path, SeparatorConfig(stft, architecture=Architecture(bridged=True)))
    assert load_separator(tmp_path).bridged
    with pytest.raises(ValueError, match="ask for all of them"):
        load_separator(tmp_path, targets=["vocals"])


def test_a_bridge_that_is_neither_true_nor_false_is_refused(networks, tmp_path):
    save_network(tmp_path, "vocals", networks["vocals"])
    path = save_config(tmp_path, SeparatorConfig(architecture=Architecture(bridged=True)))
    path.write_text(path.read_text().replace("true", '"yes"', 1))
    with pytest.raises(CheckpointError, match="expected true or false"):
        load_separator(tmp_path)


def test_only_networks_of_our_own_can_be_bridged():
    with pytest.raises(ValueError, match="all OpenUnmix"):
        Separator({"vocals": torch.nn.Identity()}, bridged=True)
