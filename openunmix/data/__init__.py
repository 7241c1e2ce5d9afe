"""Training data: datasets, mixing and augmentation of stems, and checks of datasets."""

from openunmix.data.aligned import AlignedDataset
from openunmix.data.augment.batches import Batch, BatchAugmentation
from openunmix.data.augment.effects import EFFECTS, Effects
from openunmix.data.augment.sources import (
    Compose,
    _augment_channelswap,
    _augment_force_stereo,
    _augment_gain,
    aug_from_str,
)
from openunmix.data.base import MixingDataset, Pair, UnmixDataset
from openunmix.data.check import check_dataset
from openunmix.data.factory import load_datasets
from openunmix.data.mixing import Mixer, MixingConfig, load_library
from openunmix.data.musdb import MUSDBDataset
from openunmix.data.recordings import load_audio, load_info
from openunmix.data.source_folder import SourceFolderDataset
from openunmix.data.synthetic import SyntheticDataset, synthetic_song
from openunmix.data.track_folder import (
    FixedSourcesTrackFolderDataset,
    VariableSourcesTrackFolderDataset,
)

__all__ = [
    "EFFECTS",
    "AlignedDataset",
    "Batch",
    "BatchAugmentation",
    "Compose",
    "Effects",
    "FixedSourcesTrackFolderDataset",
    "MUSDBDataset",
    "Mixer",
    "MixingConfig",
    "MixingDataset",
    "Pair",
    "SourceFolderDataset",
    "SyntheticDataset",
    "UnmixDataset",
    "VariableSourcesTrackFolderDataset",
    "_augment_channelswap",
    "_augment_force_stereo",
    "_augment_gain",
    "aug_from_str",
    "check_dataset",
    "load_audio",
    "load_datasets",
    "load_info",
    "load_library",
    "synthetic_song",
]
