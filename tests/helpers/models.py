"""Model folders of tiny networks, as users have them."""

from __future__ import annotations

from openunmix.pretrained.folder import SeparatorConfig, save_config, save_network
from openunmix.transforms.fourier import STFTConfig

__all__ = ["save_model"]


def save_model(folder, separator):
    """Write the networks of a separator as a model folder; return it."""
    for target, network in separator.target_models.items():
        save_network(folder, target, network)
    stft = STFTConfig(separator.n_fft, separator.n_hop, float(separator.sample_rate))
    save_config(folder, SeparatorConfig(stft, separator.nb_channels))
    return folder
