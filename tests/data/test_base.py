"""What datasets share: pairs that follow from seed, epoch and index alone."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sounds import noise
from torch.utils.data import ConcatDataset, DataLoader

from openunmix.data import (
    AlignedDataset,
    FixedSourcesTrackFolderDataset,
    MixingDataset,
    Pair,
    SourceFolderDataset,
    SyntheticDataset,
    UnmixDataset,
    VariableSourcesTrackFolderDataset,
    aug_from_str,
)
from openunmix.errors import AudioFileError

RATE = 8000
OPTIONS = {"seq_duration": 0.5, "sample_rate": RATE}
STEMS = ["vocals.wav", "bass.wav", "drums.wav", "mixture.wav"]


@pytest.fixture
def datasets(track_folder):
    """Make a dataset of every kind, with all that is random."""
    for track in range(3):
        stems = {name: noise(2 * RATE, seed=9 * track + k) for k, name in enumerate(STEMS)}
        track_folder(f"train/{track}", {name: stems[name] for name in STEMS[:3]})
        root = track_folder(f"aligned/{track}", stems).parents[1]
    random_ = {"random_chunks": True, "source_augmentations": aug_from_str(["gain"]), **OPTIONS}
    return [
        AlignedDataset(root, "aligned", **random_),
        SourceFolderDataset(root, "train", "0", ["1", "2"], nb_samples=3, **random_),
        FixedSourcesTrackFolderDataset(root, random_track_mix=True, **random_),
        VariableSourcesTrackFolderDataset(root, random_interferer_mix=True, **random_),
        SyntheticDataset(nb_samples=3, source_augmentations=aug_from_str(["gain"]), **OPTIONS),
    ]


def items(dataset, epoch):
    """Return all items of an epoch as one tensor."""
    dataset.set_epoch(epoch)
    return torch.stack([torch.stack(pair) for pair in dataset])


def test_items_follow_from_seed_epoch_and_index(datasets):
    for dataset in datasets:
        first = items(dataset, 0)
        assert first.shape == (3, 2, 2, RATE // 2)
        assert not torch.equal(items(dataset, 1), first)
        assert torch.equal(items(dataset, 0), first)
        twin = copy.deepcopy(dataset)
        assert torch.equal(items(twin, 0), first)
        twin.seed = 7
        assert not torch.equal(items(twin, 0), first)
        assert torch.equal(items(dataset, 0), first)


def test_global_generators_are_left_alone(datasets):
    # 1.3.0 seeded Python's in constructors and, for validation, with every item: epochs of
    # training that followed a validation were all the same.
    def states():
        numpy_state = str(np.random.get_state())  # noqa: NPY002 - the one not to be used
        return random.getstate(), numpy_state, torch.get_rng_state().tolist()

    before = states()
    for dataset in datasets:
        items(dataset, 0)
        items(copy.deepcopy(dataset), 1)
    assert states() == before


def test_workers_give_the_same_items_and_see_new_epochs(datasets):
    # Spawned, as on Windows and macOS, where 1.3.0 could not pickle its datasets.
    together = ConcatDataset(datasets)
    loader = DataLoader(
        together, batch_size=4, num_workers=2, multiprocessing_context="spawn",
        persistent_workers=True,
    )  # fmt: skip
    for epoch in range(2):
        expected = torch.cat([items(dataset, epoch) for dataset in datasets])
        batches = [torch.stack(list(batch), dim=1) for batch in loader]
        assert torch.equal(torch.cat(batches), expected)


def test_validation_is_the_same_in_every_epoch():
    valid = SyntheticDataset(split="valid", nb_samples=2, **OPTIONS)
    assert torch.equal(items(valid, 0), items(valid, 1))


def test_index_beyond_the_end_ends_iteration(datasets):
    for dataset in datasets:
        assert torch.equal(dataset[-1].target, dataset[len(dataset) - 1].target)
        for index in (3, -4):
            with pytest.raises(IndexError, match=f"index {index} is out of range.* 3 items"):
                dataset[index]


def test_duration_and_augmentations_can_be_changed_afterwards(datasets):
    # As the training script of 1.3.0 does on a copy, to measure the statistics.
    for dataset in datasets:
        whole = copy.deepcopy(dataset)
        whole.seq_duration, whole.source_augmentations, whole.random_chunks = None, None, False
        length = 12 * RATE if isinstance(dataset, SyntheticDataset) else 2 * RATE
        assert whole[0].mixture.shape == (2, length)


@pytest.mark.parametrize("duration", [None, 0.0, -1.0])
def test_no_positive_duration_means_whole_tracks(track_folder, duration):
    folder = track_folder("train/a", dict.fromkeys(STEMS, noise(1234)))
    dataset = AlignedDataset(folder.parents[1], seq_duration=duration, sample_rate=RATE)
    assert dataset[0].mixture.shape == (2, 1234)


class Own(UnmixDataset):
    """A dataset as a user writes it."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        noise = torch.from_numpy(self.generator(index).normal(size=(2, 8)))
        return Pair(noise, self.augment(noise, self.generator(index)))


def test_own_dataset_needs_a_length_and_items():
    # 1.3.0 took the root from a global variable of its script.
    own = Own("~/music", 44100.0, 2.0, torch.neg)
    assert own.root == Path.home() / "music"
    mixture, target = own[1]
    assert torch.equal(mixture, -target)
    assert repr(own).splitlines() == [
        "Dataset Own",
        "    Number of datapoints: 2",
        f"    Root: {Path.home() / 'music'}",
        "    Split: train",
        "    Sample rate: 44100.0 Hz",
        "    Duration: 2.0 s",
    ]


@pytest.mark.parametrize("kind", [UnmixDataset, MixingDataset])
def test_base_classes_have_no_items(kind):
    dataset = kind("root", 44100.0)
    with pytest.raises(NotImplementedError):
        dataset[0]
    with pytest.raises(NotImplementedError):
        len(dataset)


def test_rate_must_be_positive():
    with pytest.raises(ValueError, match="sample_rate is 0, expected a positive rate"):
        UnmixDataset("root", 0)


def test_other_rates_are_resampled_with_one_warning(track_folder, caplog):
    # 1.3.0 took every file for one of 44100 Hz.
    for name, rate in [("a", RATE), ("b", 16000), ("c", 16000)]:
        stems = dict.fromkeys(STEMS, noise(2 * rate))
        root = track_folder(f"train/{name}", stems, sample_rate=rate).parents[1]
    dataset = AlignedDataset(root, seq_duration=1.0, sample_rate=RATE)
    assert {pair.mixture.shape for pair in dataset} == {(2, RATE)}
    (message,) = caplog.messages
    assert message.startswith(f"4 of 6 recordings are not PCM at {RATE} Hz, such as ")
    assert "mixture.wav (pcm_16, 16000 Hz): each is converted once" in message


def test_mono_and_stereo_files_give_stereo_items(track_folder):
    track_folder("train/a", dict.fromkeys(STEMS, noise(RATE, 1)))
    root = track_folder("train/b", dict.fromkeys(STEMS, noise(RATE, 2))).parents[1]
    dataset = FixedSourcesTrackFolderDataset(root, sample_rate=RATE)
    assert [pair.mixture.shape for pair in dataset] == [(2, RATE)] * 2
    assert torch.equal(dataset[0].mixture[0], dataset[0].mixture[1])
    dataset.channels = 1
    assert [pair.mixture.shape for pair in dataset] == [(1, RATE)] * 2


def test_mono_files_give_mono_items(track_folder):
    root = track_folder("train/a", dict.fromkeys(STEMS, noise(RATE, 1))).parents[1]
    assert FixedSourcesTrackFolderDataset(root, sample_rate=RATE)[0].target.shape == (1, RATE)


def test_surround_and_stereo_files_give_stereo_items(track_folder):
    stems = {
        name: noise(RATE, channels) for name, channels in zip(STEMS, [2, 6, 1, 1], strict=True)
    }
    root = track_folder("train/a", stems).parents[1]
    dataset = FixedSourcesTrackFolderDataset(root, sample_rate=RATE)
    assert dataset[0].mixture.shape == (2, RATE)
    dataset.channels = 6
    with pytest.raises(AudioFileError, match=r"vocals\.wav: cannot make 6 channels of 2"):
        dataset[0]


def test_file_that_breaks_later_is_named(track_folder):
    # 1.3.0 went on to the neighbour, and from there back, without end.
    root = track_folder("train/a", dict.fromkeys(STEMS[:3], noise(RATE))).parents[1]
    dataset = VariableSourcesTrackFolderDataset(root, sample_rate=RATE)
    Path(root, "train/a/drums.wav").write_bytes(b"RIFF and then nothing")
    with pytest.raises(AudioFileError, match=r"drums\.wav"):
        dataset[0]


def test_bandwidth_is_that_of_the_recording(track_folder):
    # Singing at 16 kHz taught networks that there is nothing above 8 kHz.
    for name, rates in [("a", [4000, 8000]), ("b", [8000, 8000]), ("c", [16000, 2000])]:
        for stem, rate in zip(STEMS, rates, strict=False):
            root = track_folder(f"train/{name}", {stem: noise(rate)}, rate).parents[1]
    options = {"seq_duration": 0.5, "sample_rate": RATE}
    names = {"target_file": STEMS[0], "interferer_files": STEMS[1:2]}
    tracks = FixedSourcesTrackFolderDataset(root, **names, **options)
    assert [tracks.bandwidths(i) for i in range(3)] == [{"vocals": 2000.0}, {}, {"bass": 1000.0}]
    variable = VariableSourcesTrackFolderDataset(root, random_interferer_mix=True, **options)
    assert {tuple(variable.bandwidths(0).items()) for variable.seed in range(20)} == {
        (("vocals", 2000.0),),
        (("bass.wav", 1000.0), ("vocals", 2000.0)),
    }
    aligned = AlignedDataset(root, input_file=STEMS[1], output_file=STEMS[0], **options)
    assert [aligned.bandwidths(i) for i in range(3)] == [{"vocals": 2000.0}, {}, {}]
    assert SyntheticDataset(**options).bandwidths(0) == {}
