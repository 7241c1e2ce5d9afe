"""Networks that have an encoder and recurrent layers in common."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels

from openunmix.cli._models import main as umx_models
from openunmix.errors import CheckpointError
from openunmix.model import Architecture, MaskNetwork, OpenUnmix, Separator, share
from openunmix.model.sharing import masks
from openunmix.predict.memory import estimate_memory
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.pretrained.folder import (
    SeparatorConfig,
    find_weights,
    load_folder,
    save_folder,
    save_network,
)
from openunmix.training import TrainingConfig, fit
from openunmix.training.trainer import Trainer, update_ema
from openunmix.transforms.fourier import STFTConfig
from openunmix.utils import load_separator

N_FFT, N_HOP = 256, 64
CONFIG = SeparatorConfig(STFTConfig(N_FFT, N_HOP), architecture=Architecture(shared=True))


def new_network():
    """Make a network of random weights and statistics."""
    network = OpenUnmix(nb_bins=N_FFT // 2 + 1, hidden_size=16, max_bin=100, compression=0.5)
    for norm in (network.bn1, network.bn2, network.bn3):
        torch.nn.init.uniform_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return network.eval()


@pytest.fixture
def networks():
    """Three shared networks."""
    torch.manual_seed(5)
    networks = {target: new_network() for target in ("vocals", "drums", "bass")}
    share(networks.values())
    return networks


@pytest.fixture
def folder(networks, tmp_path):
    """A folder of them."""
    save_folder(tmp_path / "model", networks, CONFIG)
    return tmp_path / "model"


@torch.no_grad()
def test_shared_networks_estimate_what_each_does_alone(networks):
    magnitude = torch.rand(7, 3, 2, N_FFT // 2 + 1)
    found = masks(list(networks.values()), magnitude)
    for mask, network in zip(found, networks.values(), strict=True):
        torch.testing.assert_close(mask, network.mask(magnitude))
    assert decibels(found[1] - found[0], found[0]) > -20


def test_what_is_shared_is_computed_once(networks, monkeypatch):
    calls = []
    for kind, name in ((OpenUnmix, "encode"), (torch.nn.LSTM, "forward")):
        plain = getattr(kind, name)
        monkeypatch.setattr(
            kind, name, lambda self, x, n=name, p=plain: (calls.append(n), p(self, x))[1]
        )
    magnitude = torch.rand(7, 1, 2, N_FFT // 2 + 1)
    masks(list(networks.values()), magnitude)
    assert calls == ["encode", "forward"]
    masks([*networks.values(), new_network()], magnitude)
    assert calls[2:] == ["encode", "encode", "forward", "forward"]


@torch.no_grad()
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("bridged", [False, True])
def test_the_engine_shares_as_the_separator_does(networks, exact, others, bridged):
    apart = {f"other {number}": new_network() for number in range(others)}
    settings = {"n_fft": N_FFT, "n_hop": N_HOP, "niter": 1, "residual": True, "bridged": bridged}
    separator = Separator({**networks, **apart}, **settings).eval()
    mixture = synth.mixture(40000)
    actual = separate_waveform(separator, mixture, StreamConfig(exact=exact))
    assert decibels(actual - separator(mixture[None])[0], mixture) < -100


@torch.no_grad()
def test_the_separator_gives_what_unshared_copies_give(networks):
    copies = {}
    for target, network in networks.items():
        copies[target] = new_network()
        copies[target].load_state_dict(network.state_dict())
    mixture = synth.mixture(20000)[None]
    settings = {"n_fft": N_FFT, "n_hop": N_HOP, "niter": 1}
    one, other = (Separator(nets, **settings).eval()(mixture) for nets in (networks, copies))
    torch.testing.assert_close(one, other)


def test_less_memory_is_expected_of_shared_networks(networks):
    settings = {"n_fft": N_FFT, "n_hop": N_HOP}
    apart = {target: new_network() for target in networks}
    assert estimate_memory(Separator(networks, **settings)) < estimate_memory(
        Separator(apart, **settings)
    )


def test_a_folder_holds_what_is_shared_once(networks, folder):
    found = load_folder(folder)
    assert found.config.architecture.shared
    assert list(find_weights(folder)) == list(found.networks) == ["bass", "drums", "vocals"]
    one, *others = found.networks.values()
    for other in others:
        assert all(getattr(other, name) is getattr(one, name) for name in one.trunk_layers)
    for target, network in networks.items():
        for name, value in network.state_dict().items():
            torch.testing.assert_close(found.networks[target].state_dict()[name], value)
    sizes = {file.stem: file.stat().st_size for file in folder.glob("*.safetensors")}
    assert sum(sizes.values()) < 0.7 * 3 * (sizes["shared"] + sizes["vocals"])
    assert sorted(json.loads((folder / "separator.json").read_text())["sha256"]) == [
        f"{name}.safetensors" for name in sorted(sizes)
    ]


def test_one_target_can_be_used_alone(networks, folder):
    separator = load_separator(folder, targets=["drums"])
    magnitude = torch.rand(1, 2, N_FFT // 2 + 1, 9)
    torch.testing.assert_close(
        separator.target_models["drums"](magnitude), networks["drums"](magnitude)
    )
    assert list(load_folder(folder / "bass.safetensors").networks) == ["bass"]


def test_a_folder_without_its_shared_file_is_refused(folder):
    (folder / "shared.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"shared\.safetensors is missing"):
        load_folder(folder)


def test_an_exchanged_shared_file_is_refused(folder):
    file = folder / "shared.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"shared\.safetensors is damaged or was exchanged"):
        load_folder(folder)


def test_a_shared_file_of_another_width_is_refused(networks, folder):
    wider = {"vocals": OpenUnmix(nb_bins=N_FFT // 2 + 1, hidden_size=18, max_bin=100)}
    other = folder.with_name("other")
    save_folder(other, wider, CONFIG)
    (other / "shared.safetensors").replace(folder / "shared.safetensors")
    (folder / "separator.json").write_text(
        (folder / "separator.json").read_text().split(',\n  "sha256"')[0] + "}"
    )
    with pytest.raises(CheckpointError, match=r"'bn2\.bias' has shape \(16,\), expected \(18,\)"):
        load_folder(folder)


def test_networks_that_share_nothing_are_not_saved_as_shared(networks, tmp_path):
    with pytest.raises(ValueError, match="vocals, other share no layers"):
        save_folder(tmp_path, {"vocals": networks["vocals"], "other": new_network()}, CONFIG)
    assert not list(tmp_path.iterdir())


def test_networks_that_share_some_layers_alone_keep_their_own(networks):
    other = new_network()
    other.fc1 = networks["vocals"].fc1
    magnitude = torch.rand(7, 1, 2, N_FFT // 2 + 1)
    torch.testing.assert_close(
        masks([networks["vocals"], other], magnitude)[1], other.mask(magnitude)
    )


def test_no_target_is_called_shared(networks, tmp_path):
    with pytest.raises(ValueError, match="'shared' is the name of shared layers"):
        save_network(tmp_path, "shared", networks["vocals"])


def test_shared_folders_are_verified_and_converted(folder, capsys):
    copy = folder.with_name("copy")
    assert umx_models(["convert", str(folder), str(copy), "--dtype", "float16"]) == 0
    assert umx_models(["verify", str(copy)]) == 0
    sizes = [(f / "shared.safetensors").stat().st_size for f in (copy, folder)]
    assert sizes[0] < 0.75 * sizes[1]
    with pytest.raises(CheckpointError, match="the name of shared layers"):
        load_folder(copy / "shared.safetensors")


class Noise(torch.utils.data.Dataset):
    """Two sources of noise."""

    def __len__(self):
        return 100

    def __getitem__(self, index):
        return torch.randn(2, 2, 2000, generator=torch.Generator().manual_seed(index))


def settings(**changes):
    """Make a small configuration of two shared networks."""
    return TrainingConfig(
        **{
            "targets": ("one", "two"),
            "architecture": Architecture(hidden_size=8, nb_layers=2, shared=True),
            "stft": STFTConfig(N_FFT, N_HOP),
            "batch_size": 2,
            "steps": 6,
            "precision": "float32",
            "statistics_excerpts": 2,
            "save_every": 3,
            **changes,
        }
    )


def test_shared_networks_are_trained_saved_and_trained_further(tmp_path):
    trainer = fit(settings(), Noise(), tmp_path / "a")
    one, two = load_folder(tmp_path / "a").networks.values()
    assert one.lstm is two.lstm
    assert one.fc2 is not two.fc2
    torch.testing.assert_close(one.fc1.weight, trainer.ema_networks()["one"].fc1.weight)
    # Interrupted after three steps, it ends the same.
    count = iter(range(10))
    fit(settings(), Noise(), tmp_path / "b", stop=lambda: next(count) == 2)
    fit(settings(), Noise(), tmp_path / "b")
    for found, wanted in zip(
        load_folder(tmp_path / "b").networks.values(), (one, two), strict=True
    ):
        for name, value in wanted.state_dict().items():
            torch.testing.assert_close(found.state_dict()[name], value)


def test_all_targets_teach_what_is_shared():
    trainer = Trainer(settings(), 6)
    one, two = trainer.networks.values()
    masks([one, two], torch.rand(7, 1, 2, N_FFT // 2 + 1))[1].sum().backward()
    assert one.fc1.weight.grad.abs().sum() > 0
    assert one.lstm is two.lstm is not trainer.ema["one"].lstm is trainer.ema["two"].lstm


def test_an_average_moves_what_is_shared_as_far_as_the_rest(networks):
    average = torch.nn.ModuleDict({target: new_network() for target in networks})
    share(average.values())
    first = {name: value.clone() for name, value in average.state_dict().items()}
    current = torch.nn.ModuleDict(networks)
    update_ema(average, current, 0.75)
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, first[name].lerp(current.state_dict()[name], 0.25))


def test_networks_without_a_trunk_cannot_share_one():
    class Plain(MaskNetwork):
        """A network in one piece."""

    networks = [Plain(Architecture(), 9, 2), Plain(Architecture(), 9, 2)]
    with pytest.raises(ValueError, match="Plain have no trunk to share"):
        share(networks)
