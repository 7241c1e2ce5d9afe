"""Aligned pairs of files."""

from __future__ import annotations

import pytest
import torch
from helpers.sounds import noise

from openunmix.data import AlignedDataset, aug_from_str
from openunmix.errors import AudioFileError

RATE = 8000


@pytest.fixture
def root(track_folder):
    """Make two tracks whose target is the mixture turned upside down."""
    for name in "ab":
        mixture = noise(2 * RATE, seed=ord(name))
        folder = track_folder(f"train/{name}", {"mixture.wav": mixture, "vocals.wav": -mixture})
    return folder.parents[1]


def test_items_are_the_files_in_the_order_of_the_folders(root):
    dataset = AlignedDataset(root, sample_rate=RATE)
    assert len(dataset) == 2
    # 16 bits
    torch.testing.assert_close(dataset[1].mixture, noise(2 * RATE, seed=98), atol=4e-5, rtol=0)
    assert [tuple(path.name for path in paths) for paths in dataset.tuple_paths] == [
        ("mixture.wav", "vocals.wav")
    ] * 2


@pytest.mark.parametrize("augmentations", [None, ["gain", "channelswap"]])
def test_mixture_and_target_stay_aligned(root, augmentations):
    # 1.3.0 ignored the augmentations.
    function = aug_from_str(augmentations) if augmentations else None
    dataset = AlignedDataset(
        root, seq_duration=1.0, random_chunks=True, sample_rate=RATE, source_augmentations=function
    )
    levels = set()
    for epoch in range(5):
        dataset.set_epoch(epoch)
        for mixture, target in dataset:
            torch.testing.assert_close(mixture, -target, atol=4e-5, rtol=0)
            levels.add(round(float(mixture.std()), 2))
    assert (len(levels) > 1) is bool(augmentations)


def test_excerpts_are_at_the_beginning_unless_random(root):
    whole = AlignedDataset(root, sample_rate=RATE)[0].mixture
    first = AlignedDataset(root, seq_duration=0.5, sample_rate=RATE)[0].mixture
    assert torch.equal(first, whole[:, : RATE // 2])
    dataset = AlignedDataset(root, seq_duration=0.5, sample_rate=RATE, random_chunks=True)
    assert not torch.equal(dataset[0].mixture, first)


def test_file_names_may_be_globs(root, track_folder):
    track_folder("valid/c", {"noisy_01.wav": noise(100), "clean_7.flac": noise(100)})
    dataset = AlignedDataset(root, "valid", "noisy*", "clean_?.flac", sample_rate=RATE)
    assert dataset[0].mixture.shape == (2, 100)


def test_tracks_without_a_file_or_too_short_are_skipped(root, track_folder, caplog):
    track_folder("train/c", {"mixture.wav": noise(4 * RATE)})
    track_folder("train/d", dict.fromkeys(["mixture.wav", "vocals.wav"], noise(RATE)))
    mixed = {"mixture.wav": noise(4 * RATE), "vocals.wav": noise(2 * RATE - 1)}
    track_folder("train/e", mixed)
    dataset = AlignedDataset(root, seq_duration=2.0, sample_rate=RATE)
    assert len(dataset) == 2
    reasons = [message.split("train/")[1] for message in caplog.messages]
    assert reasons == [
        "c: there is no vocals.wav; there is mixture.wav",
        "d: it lasts 1.000 s, an excerpt 2.000 s",
        "e: it lasts 2.000 s, an excerpt 2.000 s",
    ]


def test_nothing_to_use_is_an_error(root):
    with pytest.raises(AudioFileError, match=r"train: none of 2 tracks.*a: there is no piano\.wav"):
        AlignedDataset(root, input_file="piano.wav")
    with pytest.raises(AudioFileError, match="test: no such folder"):
        AlignedDataset(root, "test")


def test_files_of_different_lengths_give_what_both_have(track_folder):
    folder = track_folder("train/a", {"mixture.wav": noise(100), "vocals.wav": noise(90)})
    pair = AlignedDataset(folder.parents[1], sample_rate=RATE)[0]
    assert pair.mixture.shape == pair.target.shape == (2, 90)


def test_track_of_a_damaged_file_is_skipped(root, caplog):
    """One file of a dataset was not downloaded to its end: the other tracks are trained on."""
    (root / "train/a/vocals.wav").write_bytes(b"RIFF and then nothing")
    assert len(AlignedDataset(root, sample_rate=RATE)) == 1
    assert "a/vocals.wav' is damaged" in caplog.text
