"""Training data: stems in memory, and mixtures made of them."""

from openunmix.data.mixing import MixingConfig, MixtureDataset
from openunmix.data.stems import Stem, StemLibrary, find_tracks, load_stem, load_tracks

__all__ = [
    "MixingConfig",
    "MixtureDataset",
    "Stem",
    "StemLibrary",
    "find_tracks",
    "load_stem",
    "load_tracks",
]
