"""Model folders of tiny networks, as users have them."""

from __future__ import annotations

import json

import torch

from helpers.weights_server import tiny_network
from openunmix.model import Separator, share
from openunmix.pretrained.folder import SeparatorConfig, save_config, save_network
from openunmix.transforms.fourier import STFTConfig

__all__ = ["frozen_separator", "same", "save_model", "write_1_3_0_folder"]


def frozen_separator(architectures, stft, channels=2, **options):
    """Build a separator of random networks, one for each target, as their architectures say."""
    torch.manual_seed(5)
    networks = {name: kind.build(stft, channels) for name, kind in architectures.items()}
    first = next(iter(architectures.values()))
    if first.shared:
        share(networks.values())
    made = Separator(
        networks,
        n_fft=stft.n_fft,
        n_hop=stft.n_hop,
        sample_rate=stft.sample_rate,
        nb_channels=channels,
        bridged=first.bridged,
        **options,
    )
    made.freeze()
    return made


def save_model(folder, separator):
    """Write the networks of a separator as a model folder; return it."""
    for target, network in separator.target_models.items():
        save_network(folder, target, network)
    stft = STFTConfig(separator.n_fft, separator.n_hop, float(separator.sample_rate))
    save_config(folder, SeparatorConfig(stft, separator.nb_channels))
    return folder


def write_1_3_0_folder(folder, targets=("vocals", "drums"), **changes):
    """Write a folder as openunmix 1.3.0 does after training."""
    folder.mkdir(exist_ok=True)
    for seed, target in enumerate(targets):
        network = tiny_network(seed, **changes)
        torch.save(network.state_dict(), folder / f"{target}.pth")
        args = {"nfft": 64, "nb_channels": 2, "hidden_size": 8}
        (folder / f"{target}.json").write_text(json.dumps({"args": args, "best_loss": 0.5}))
    config = {"nfft": 64, "nhop": 16, "sample_rate": 8000.0, "nb_channels": 2}
    (folder / "separator.json").write_text(json.dumps(config))
    return folder


def same(network, other):
    """Tell whether two networks compute the same."""
    magnitude = torch.rand(1, network.nb_channels, network.nb_output_bins, 5)
    with torch.no_grad():
        return torch.equal(network(magnitude), other(magnitude))
