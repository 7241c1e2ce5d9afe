"""Model folders of the recipe's scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from openunmix.checkpoints import SeparatorConfig, save_config, save_network
from openunmix.model import OpenUnmix

__all__ = ["save_folder"]


def save_folder(output: Path, networks: Mapping[str, OpenUnmix], config: SeparatorConfig) -> None:
    """Write networks by target, and the settings of a model they came from.

    Parameters
    ----------
    output : Path
        The folder.
    networks : mapping of str to OpenUnmix
        A network by target.
    config : SeparatorConfig
        STFT, sample rate and channels; hashes of its files are left out, as the files are new.
    """
    for target, network in networks.items():
        save_network(output, target, network)
    save_config(output, replace(config, sha256={}))
