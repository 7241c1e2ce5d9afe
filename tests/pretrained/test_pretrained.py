"""From a name or a folder to networks and a separator."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from helpers.weights_server import Behaviour, make_entry, pickled, serving, tiny_network

from openunmix.errors import CheckpointError, UnknownModelError, UnreachableError
from openunmix.model import OpenUnmix
from openunmix.pretrained import (
    load_separator,
    load_target_models,
    registry,
    resolve_model,
)
from openunmix.pretrained.folder import SeparatorConfig, save_config, save_network
from openunmix.pretrained.registry import MODELS
from openunmix.transforms.fourier import STFTConfig

TARGETS = ["vocals", "drums"]
CONFIG = SeparatorConfig(STFTConfig(64, 16, 8000.0), channels=2)


pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture
def plan():
    return Behaviour()


@pytest.fixture
def tiny(plan, monkeypatch):
    """Publish a model of the name tiny; its vocals are network 0, its drums network 1."""
    contents = {
        target: pickled(tiny_network(seed).state_dict()) for seed, target in enumerate(TARGETS)
    }
    with serving(plan) as url:
        entry = make_entry(contents, url)
        plan.files.update({entry.files[target].name: contents[target] for target in TARGETS})
        monkeypatch.setitem(MODELS, "tiny", entry)
        yield entry


def write_folder(folder, **seeds):
    """Write a model folder with the network of a seed for every target."""
    for target, seed in seeds.items():
        save_network(folder, target, tiny_network(seed))
    save_config(folder, CONFIG)
    return folder


def is_network(network, seed):
    """Tell whether a network is the tiny one of a seed."""
    expected = tiny_network(seed).state_dict()
    return all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_known_name_is_downloaded_and_loaded(tiny):
    networks = load_target_models(model_str_or_path="tiny")
    assert list(networks) == TARGETS
    assert is_network(networks["vocals"], 0)
    assert is_network(networks["drums"], 1)
    assert not any(network.training for network in networks.values())
    assert all(p.requires_grad for network in networks.values() for p in network.parameters())


def test_only_the_targets_asked_for_are_downloaded(tiny, plan):
    assert list(load_target_models(["drums"], "tiny")) == ["drums"]
    assert list(plan.requests) == [tiny.files["drums"].name]


def test_single_target_may_be_a_string(tiny):
    # 1.3.0 allowed it in load_target_models.
    assert list(load_target_models("drums", "tiny")) == ["drums"]


def test_order_of_targets_is_the_order_of_estimates(tiny):
    separator = load_separator("tiny", ["drums", "vocals"])
    assert separator.sources == ["drums", "vocals"]
    assert load_separator("tiny").sources == TARGETS


def test_separator_has_the_settings_of_its_model(tiny):
    separator = load_separator("tiny", niter=2, residual=True, wiener_win_len=50)
    assert (separator.n_fft, separator.n_hop, separator.nb_channels) == (64, 16, 2)
    assert separator.sample_rate == 8000
    assert (separator.niter, separator.residual, separator.wiener_win_len) == (2, True, 50)
    assert separator(torch.rand(1, 2, 1000)).shape == (1, 3, 2, 1000)


def test_separator_is_frozen(tiny):
    separator = load_separator("tiny")
    assert not any(module.training for module in separator.modules())
    assert not any(parameter.requires_grad for parameter in separator.parameters())
    assert not separator(torch.rand(1, 2, 1000)).requires_grad


def test_unknown_target_of_a_known_model_is_an_error(tiny, plan):
    with pytest.raises(ValueError, match=r"'tiny' has no target 'guitar'; it has vocals, drums"):
        load_separator("tiny", ["vocals", "guitar"])
    assert not plan.requests


def test_unknown_name_is_an_error_and_not_an_attribute_error():
    for load in (load_separator, lambda name: load_target_models(None, name), resolve_model):
        with pytest.raises(UnknownModelError, match="did you mean 'umxhq'"):
            load("umxqh")
    with pytest.raises(UnknownModelError):
        load_separator("")
    with pytest.raises(UnknownModelError):
        load_separator("umxqh", pretrained=False)


def test_folder_named_like_a_model_does_not_shadow_it(tiny, tmp_path):
    # In 1.3.0 a folder of that name in the working directory won silently.
    write_folder(tmp_path / "work" / "tiny", vocals=7)
    assert is_network(load_target_models(["vocals"], "tiny")["vocals"], 0)
    assert is_network(load_target_models(["vocals"], "./tiny")["vocals"], 7)
    assert is_network(load_target_models(["vocals"], tmp_path / "work" / "tiny")["vocals"], 7)
    assert resolve_model("./tiny").name == "tiny"
    assert resolve_model("./tiny").licence == ""


def test_folder_of_an_unknown_name_needs_no_slash(tmp_path):
    write_folder(tmp_path / "work" / "mine", vocals=7, bass=8)
    networks = load_target_models(None, "mine")
    assert list(networks) == ["bass", "vocals"]
    assert is_network(networks["bass"], 8)


def test_folder_under_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_folder(tmp_path / "mine", vocals=7)
    assert load_separator("~/mine").sources == ["vocals"]


def test_separator_of_a_folder_needs_no_targets(tmp_path):
    # 1.3.0 raised a UserWarning.
    separator = load_separator(write_folder(tmp_path / "mine", vocals=7, bass=8), residual=True)
    assert separator.sources == ["bass", "vocals", "residual"]
    assert separator.sample_rate == 8000
    assert separator.n_hop == 16


def test_missing_target_of_a_folder_is_an_error(tmp_path):
    write_folder(tmp_path / "mine", vocals=7)
    with pytest.raises(CheckpointError, match=r"'drums'; it has vocals"):
        load_separator(tmp_path / "mine", ["drums"])


def test_python_never_falls_back_to_another_model(tiny, plan):
    plan.status = 503
    with pytest.raises(UnreachableError, match="503"):
        load_separator("tiny")


def test_resolved_model_tells_what_a_manifest_needs(tiny):
    model = resolve_model("tiny", ["drums"], progress=False)
    assert (model.name, model.targets, model.licence) == ("tiny", ["drums"], "CC0 1.0")
    assert (model.config.stft.sample_rate, model.config.channels) == (8000, 2)
    assert not model.bundled
    content = model.files["drums"].read_bytes()
    assert model.sha256 == {"drums": hashlib.sha256(content).hexdigest()}
    assert is_network(load_separator(model).target_models["drums"], 1)


def test_bundled_model_needs_no_network(tmp_path, monkeypatch):
    folder = tmp_path / "weights" / "umxs"
    for seed, target in enumerate(MODELS["umxs"].targets):
        network = tiny_network(seed, nb_bins=2049, max_bin=1487)
        save_network(folder, target, network, dtype=torch.float16)
    save_config(folder, SeparatorConfig())
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path / "weights")
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")
    model = resolve_model("umxs")
    assert model.bundled
    assert model.licence == MODELS["umxs"].licence
    assert load_separator(model).sources == ["vocals", "drums", "bass", "other"]


def test_bundled_model_that_was_tampered_with_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "weights" / "umxs"
    for target in MODELS["umxs"].targets:
        save_network(folder, target, tiny_network())
    save_config(folder, CONFIG)
    (folder / "vocals.safetensors").write_bytes(
        save_network(tmp_path, "vocals", tiny_network(5)).read_bytes()
    )
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path / "weights")
    with pytest.raises(CheckpointError, match="exchanged"):
        resolve_model("umxs")


def test_missing_bundled_weights_are_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match=r"weights of 'umxs' are not in .*use another model"):
        load_separator("umxs")


@pytest.mark.parametrize("name", ["umxs", "umxlive", "umxses"])
def test_bundled_weights_of_this_copy_load(name):
    separator = load_separator(name)
    entry = MODELS[name]
    assert separator.sources == entry.targets
    load_separator(name, pretrained=False).load_state_dict(separator.state_dict())


def test_bundled_speech_model_takes_noise_away():
    noise = 0.05 * torch.randn(1, 1, 32000, generator=torch.Generator().manual_seed(0))
    estimates = load_separator("umxses")(noise)[0, :, 0]
    speech, rest = estimates.square().mean(dim=-1) / noise.square().mean()
    assert speech < 0.05
    assert rest > 0.8


@pytest.mark.parametrize(
    ("name", "bins", "channels", "hidden_size", "max_bin", "parameters"),
    [
        ("umx", 2049, 2, 512, 1487, 8_893_000),
        ("umxhq", 2049, 2, 512, 1487, 8_893_000),
        ("umxl", 2049, 2, 1024, 1487, 28_257_000),
        ("umxse", 513, 1, 256, 513, 1_584_000),
        ("umxses", 513, 1, 256, 513, 1_584_000),
    ],
)
def test_untrained_networks_have_the_published_shapes(
    name, bins, channels, hidden_size, max_bin, parameters
):
    target = MODELS[name].targets[0]
    network = load_target_models([target], name, pretrained=False)[target]
    assert (network.nb_output_bins, network.nb_channels) == (bins, channels)
    assert (network.hidden_size, network.nb_bins) == (hidden_size, max_bin)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, abs=1000)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_untrained_separator_of_a_known_model_has_its_settings():
    # 1.3.0 ignored the argument and downloaded the weights.
    separator = load_separator("umxse", pretrained=False)
    assert separator.sources == ["speech", "noise"]
    assert (separator.n_fft, separator.n_hop, separator.nb_channels) == (1024, 512, 1)
    assert separator.sample_rate == 16000


def test_untrained_networks_of_a_folder_have_its_shapes_and_other_weights(tmp_path):
    save_network(tmp_path / "mine", "vocals", tiny_network(unidirectional=True, nb_layers=2))
    save_config(tmp_path / "mine", CONFIG)
    network = load_target_models(None, tmp_path / "mine", pretrained=False)["vocals"]
    assert network.unidirectional
    assert network.nb_layers == 2
    trained = load_target_models(None, tmp_path / "mine")["vocals"]
    assert not torch.equal(network.fc1.weight, trained.fc1.weight)
    assert load_separator(tmp_path / "mine", pretrained=False).sources == ["vocals"]


def test_official_model_of_official_size_makes_the_whole_way(plan, monkeypatch):
    network = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)
    content = pickled(network.state_dict())
    assert len(content) == pytest.approx(MODELS["umxhq"].files["vocals"].size, rel=0.06)
    with serving(plan) as url:
        entry = make_entry({"vocals": content}, url, config=MODELS["umxhq"].config)
        plan.files[entry.files["vocals"].name] = content
        monkeypatch.setitem(MODELS, "official", entry)
        separator = load_separator("official", niter=0)
    assert separator(torch.zeros(2, 8192)).shape == (1, 2, 8192)


def test_network_that_does_not_fit_its_entry_is_refused(tiny, plan, monkeypatch):
    content = pickled(tiny_network(nb_channels=1).state_dict())
    entry = make_entry({"vocals": content}, tiny.url)
    plan.files[entry.files["vocals"].name] = content
    monkeypatch.setitem(MODELS, "tiny", entry)
    with pytest.raises(CheckpointError, match="1 channels"):
        load_separator("tiny")


def test_folder_without_separator_json_is_loaded_with_a_warning(tmp_path, caplog):
    torch.save(tiny_network().state_dict(), tmp_path / "vocals.pth")
    (tmp_path / "vocals.json").write_text(json.dumps({"args": {}}))
    assert load_separator(tmp_path).n_fft == 64
    assert len(caplog.records) == 1


def test_loading_a_model_does_not_load_the_compiler():
    # torch brings in its compiler, more than a second of imports, for the simplest sums on the meta
    # device.
    program = (
        "import sys, torch\n"
        "from openunmix.predict.stream import separate_waveform\n"
        "from openunmix.pretrained import load_separator\n"
        "separate_waveform(load_separator('umxs'), torch.ones(2, 10_000))\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"False"
