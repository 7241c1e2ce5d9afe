"""A second architecture goes through loader, trainer, engine and commands like the first one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels
from helpers.toys import CONFIG, Tones

from openunmix.cli._models import main as umx_models
from openunmix.errors import CheckpointError
from openunmix.model import NETWORKS, Architecture, MaskNetwork, Separator
from openunmix.predict import separate
from openunmix.pretrained import load_separator, load_target_models
from openunmix.pretrained.config import SeparatorConfig, read_config
from openunmix.pretrained.folder import load_folder, save_folder
from openunmix.training import fit
from openunmix.training.networks import pretrained_networks
from openunmix.transforms.fourier import STFTConfig

STFT = STFTConfig(128, 64, 8000.0)


@dataclass(frozen=True)
class BandArchitecture(Architecture):
    """Options of `BandNetwork`."""

    name = "BandNetwork"

    bands: int = field(default=4, metadata={"help": "number of bands"})
    activation: str = "sigmoid"
    widths: tuple = (1, 1)


class BandNetwork(MaskNetwork):
    """One gain a band, from the levels of all bands of a frame."""

    options = BandArchitecture

    def __init__(self, architecture, nb_output_bins, nb_channels):
        super().__init__(architecture, nb_output_bins, nb_channels)
        self.mean = torch.nn.Parameter(torch.zeros(nb_output_bins))
        self.dense = torch.nn.Linear(architecture.bands, architecture.bands)
        band = torch.arange(nb_output_bins) * architecture.bands // nb_output_bins
        self.register_buffer("band", band, persistent=False)

    def mask(self, magnitude):
        levels = self.compress(magnitude + self.mean)
        zeros = magnitude.new_zeros(*magnitude.shape[:-1], self.architecture.bands)
        levels = zeros.index_add(-1, self.band, levels)
        gains = getattr(torch, self.architecture.activation)(self.dense(levels))
        return gains[..., self.band]

    def set_input_statistics(self, mean, scale):
        self.mean.data.copy_(-mean)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(NETWORKS, "BandNetwork", BandNetwork)


ARCHITECTURE = BandArchitecture(bands=5, activation="relu", widths=(2, 3))


@pytest.fixture
def networks():
    torch.manual_seed(1)
    return {target: ARCHITECTURE.build(STFT).eval() for target in ("low", "high")}


@pytest.fixture
def folder(networks, tmp_path):
    save_folder(tmp_path / "bands", networks, SeparatorConfig(STFT))
    return tmp_path / "bands"


def test_folder_names_the_architecture_and_its_options(folder):
    content = json.loads((folder / "separator.json").read_text())
    assert content["architecture"] == "BandNetwork"
    assert (content["bands"], content["activation"], content["widths"]) == (5, "relu", [2, 3])
    assert read_config(folder).architecture == ARCHITECTURE


def test_loader_builds_the_class_that_the_folder_names(folder, networks):
    found = load_target_models(None, folder)
    assert all(type(network) is BandNetwork for network in found.values())
    assert found["low"].architecture == ARCHITECTURE
    for target, network in networks.items():
        for name, value in network.state_dict().items():
            torch.testing.assert_close(found[target].state_dict()[name], value)
    untrained = load_target_models(None, folder, pretrained=False)["low"]
    assert not torch.equal(untrained.dense.weight, found["low"].dense.weight)


@torch.no_grad()
def test_engine_separates_as_the_separator_does(folder):
    separator = load_separator(folder, niter=1, residual=True)
    mixture = synth.mixture(20000)
    estimates = separate(mixture, separator=separator)
    assert list(estimates) == ["high", "low", "residual"]
    for found, wanted in zip(estimates.values(), separator(mixture[None])[0], strict=True):
        assert decibels(found[0] - wanted, mixture) < -90


def test_trainer_trains_saves_and_resumes_it(tmp_path):
    config = replace(CONFIG, steps=4, architecture=ARCHITECTURE)
    trainer = fit(config, Tones(), tmp_path / "run")
    found = load_folder(tmp_path / "run")
    assert found.config.architecture == ARCHITECTURE
    count = iter(range(10))
    fit(config, Tones(), tmp_path / "two parts", stop=lambda: next(count) == 1)
    resumed = fit(config, Tones(), tmp_path / "two parts").ema_networks()
    for target, network in trainer.ema_networks().items():
        assert network.mean.abs().sum() > 0
        for one in (found.networks[target], resumed[target]):
            torch.testing.assert_close(one.dense.weight, network.dense.weight)


def test_trained_model_is_trained_further(folder, tmp_path):
    config = replace(CONFIG, steps=2)
    networks, config = pretrained_networks(folder, config)
    assert config.architecture == ARCHITECTURE
    fit(config, Tones(), tmp_path / "run", networks=networks)
    assert read_config(tmp_path / "run").architecture == ARCHITECTURE


def test_commands_verify_and_convert_it(folder, tmp_path):
    assert umx_models(["verify", str(folder)]) == 0
    assert umx_models(["convert", str(folder), str(tmp_path / "half"), "--dtype", "float16"]) == 0
    assert read_config(tmp_path / "half").architecture == ARCHITECTURE


def test_network_exports_as_a_graph(networks):
    network = networks["low"]
    magnitude = torch.rand(1, 2, 65, 9)
    program = torch.export.export(network, (magnitude,))
    torch.testing.assert_close(program.module()(magnitude), network(magnitude))


def test_unknown_architecture_is_named(folder, monkeypatch):
    monkeypatch.delitem(NETWORKS, "BandNetwork")
    with pytest.raises(CheckpointError, match=r"'architecture' is 'BandNetwork'.*OpenUnmix"):
        load_separator(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("bands", "5", "whole number"), ("activation", 3, "str"), ("architecture", [], "not among")],
)
def test_option_of_another_type_is_named(folder, key, value, expected):
    path = folder / "separator.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=f"'{key}' is .*{expected}"):
        load_separator(folder)


def test_weights_of_other_options_are_refused(folder):
    path = folder / "separator.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bands": 6}))
    with pytest.raises(CheckpointError, match=r"'dense.bias' has shape \(5,\), expected \(6,\)"):
        load_separator(folder)


def test_networks_of_two_architectures_work_together(networks):
    other = Architecture(hidden_size=8).build(STFT).eval()
    separator = Separator({**networks, "other": other}, n_fft=128, n_hop=64, sample_rate=8000.0)
    estimates = separate(synth.mixture(5000), separator=separator.eval())
    assert list(estimates) == ["low", "high", "other"]
