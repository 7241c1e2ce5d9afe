"""The start of umxlive: a causal network of half the width."""

from dataclasses import replace

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels
from narrow import main

from openunmix.model import OpenUnmix, share
from openunmix.pretrained.config import SeparatorConfig
from openunmix.pretrained.folder import load_folder, save_folder
from openunmix.transforms.fourier import STFTConfig, stft

STFT = STFTConfig(128, 32, 44100.0)


@pytest.fixture
def redundant(tiny_network) -> dict[str, OpenUnmix]:
    """Return networks of which half can go: units in pairs, backward directions unheard."""
    networks = {target: tiny_network(seed) for seed, target in enumerate(("vocals", "drums"))}
    share(networks.values())
    with torch.no_grad():
        for network in networks.values():
            for layer, normal in ((network.fc1, network.bn1), (network.fc2, network.bn2)):
                for values in (layer.weight, *normal.parameters(), *normal.buffers()):
                    if values.ndim:
                        values[4:] = values[:4]
            for weight in (network.lstm.weight_ih_l1, network.lstm.weight_ih_l2):
                weight[:, 4:] = 0
            network.fc2.weight[:, 12:] = 0
    return networks


def test_what_can_be_left_out_is(tmp_path, track_folder, redundant):
    songs = track_folder("song", {"vocals.wav": synth.mixture(40_000)}, 44100).parent
    options = replace(redundant["vocals"].architecture, shared=True)
    save_folder(tmp_path / "old", redundant, SeparatorConfig(STFT, 2, options))
    mixture = stft(synth.mixture(20_000), STFT.n_fft, STFT.n_hop).abs()[None]

    main(str(songs), str(tmp_path / "old"), str(tmp_path / "new"))

    old, new = (load_folder(tmp_path / name).networks for name in ("old", "new"))
    for target, network in new.items():
        assert (network.architecture.hidden_size, network.architecture.unidirectional) == (4, True)
        expected = old[target](mixture).detach()
        assert decibels(network(mixture).detach() - expected, expected) < -60
