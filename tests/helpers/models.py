"""Model folders of tiny networks, as users have them."""

from __future__ import annotations

from openunmix.pretrained.folder import SeparatorConfig, save_config, save_network

__all__ = ["save_model"]


def save_model(folder, separator):
    """Write the networks of a separator as a model folder; return it."""
    for target, network in separator.target_models.items():
        save_network(folder, target, network)
    config = SeparatorConfig(
        n_fft=separator.n_fft,
        n_hop=separator.n_hop,
        sample_rate=float(separator.sample_rate),
        channels=separator.nb_channels,
    )
    save_config(folder, config)
    return folder
