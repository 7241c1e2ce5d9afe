"""What is drawn, in which step, by which process."""

from __future__ import annotations

import math
from itertools import chain, islice
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from helpers.toys import Tones

from openunmix.data import Mixer, MixingConfig, Pair
from openunmix.data.stems import Stem, StemLibrary
from openunmix.errors import TrainingError
from openunmix.training.batches import Batches, Example, Examples, MixedBatches, collate

TARGETS = ("low", "high")


def batches(dataset, **settings):
    """Batches of two, of both targets."""
    return Batches(Examples(dataset, TARGETS, 2), 2, **settings)


def test_mixture_is_the_sum_of_the_sources():
    [batch] = batches(Tones()).between(0, 1)
    assert batch.mixture.shape == (2, 2, 1000)
    assert batch.sources.shape == (2, 2, 2, 1000)
    torch.testing.assert_close(batch.mixture, batch.sources.sum(dim=1))
    assert batch.bandwidth is None


def test_any_step_can_be_the_first():
    every = list(batches(Tones(7)).between(0, 11))
    for first in range(11):
        for ours, theirs in zip(batches(Tones(7)).between(first, 11), every[first:], strict=True):
            assert torch.equal(ours.sources, theirs.sources)
            assert ours.items == theirs.items


@pytest.mark.parametrize("length", [4, 7])
def test_epoch_has_every_item_at_most_once_and_in_another_order(length):
    drawn = [batch.items for batch in batches(Tones(length)).between(0, 6 * (length // 2))]
    count = length // 2
    epochs = [list(chain(*drawn[i : i + count])) for i in range(0, len(drawn), count)]
    assert all(len(set(epoch)) == 2 * count for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert set(chain(*epochs)) == set(range(length))  # those left over come in another epoch


def test_epochs_have_other_excerpts():
    found = [batch.mixture for batch in batches(Tones(4)).between(0, 10)]
    starts = {tuple(mixture[:8].flatten().tolist()) for batch in found for mixture in batch}
    assert len(starts) == 20


def test_seed_decides_the_order():
    def order(seed):
        return [batch.items for batch in batches(Tones(50), seed=seed).between(0, 25)]

    assert order(1) == order(1) != order(2)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    alone = list(batches(Tones()).between(1, 8))
    helped = list(batches(Tones(), workers=workers).between(1, 8))
    for ours, theirs in zip(helped, alone, strict=True):
        assert torch.equal(ours.sources, theirs.sources)


def test_processes_share_every_batch():
    whole = list(batches(Tones(8)).between(0, 9))
    shares = [list(batches(Tones(8), rank=rank, world_size=2).between(0, 9)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(parts[0].items + parts[1].items) == sorted(batch.items)
        assert torch.equal(torch.cat([part.mixture for part in parts]), batch.mixture)


def test_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(TrainingError, match="batch of 2 cannot be shared by 3 processes"):
        batches(Tones(), world_size=3)


def test_batch_is_no_larger_than_the_data():
    small = Batches(Examples(Tones(3), TARGETS, 2), 16)
    assert [len(batch.items) for batch in small.between(0, 3)] == [3, 3, 3]


def test_error_stops_the_batches():
    def fail(epoch, index):
        if epoch == 1:
            raise ValueError("what went wrong")

    found = batches(Tones(4, fail=fail), workers=1).between(0, 9)
    assert len(list(islice(found, 2))) == 2
    with pytest.raises(ValueError, match=r"^what went wrong$"):
        next(found)


class Own:
    """A dataset of one's own, that returns what it is given."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return self.item


NOISE = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("item", "targets", "mixture"),
    [
        (NOISE[:2], ["a", "b"], NOISE[:2].sum(dim=0)),
        (Pair(NOISE[0], NOISE[1]), ["a"], NOISE[0]),
        ((NOISE[0], NOISE[1]), ["a"], NOISE[0]),
        (Example(NOISE[0], NOISE[1:]), ["a", "b"], NOISE[0]),
    ],
)
def test_items_of_any_dataset_are_understood(item, targets, mixture):
    example = Examples(Own(item), targets, 2)[0]
    assert torch.equal(example.mixture, mixture)
    assert len(example.sources) == len(targets)


def test_item_without_all_targets_is_an_error():
    with pytest.raises(ValueError, match="item 3 has 1 sources for the targets"):
        Examples(Own((NOISE[0], NOISE[1])), ["a", "b"], 2)[3]
    with pytest.raises(ValueError, match="no source 'flute'; it has low, high"):
        Examples(Tones(), ["low", "flute"], 2)[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_items_get_the_channels_of_the_networks(channels):
    example = Examples(Own(Example(NOISE[0, :1], NOISE[1:])), ["a", "b"], channels)[0]
    assert example.mixture.shape == (channels, 50)
    assert example.sources.shape == (2, channels, 50)


def test_bandwidth_of_some_items_is_infinite_for_the_others():
    plain = Example(NOISE[0], NOISE[1:])
    narrow = plain._replace(bandwidth=torch.tensor([8000.0, math.inf]))
    assert collate([(0, plain), (1, plain)]).bandwidth is None
    batch = collate([(0, plain), (1, narrow)])
    assert batch.bandwidth.tolist() == [[math.inf, math.inf], [8000.0, math.inf]]


def test_bandwidth_that_the_dataset_knows_is_used():
    class Narrow(Tones):
        def bandwidths(self, index):
            return {"high": 4000.0} if index else {}

    examples = Examples(Narrow(), TARGETS, 2)
    assert examples[0].bandwidth is None
    assert examples[1].bandwidth.tolist() == [math.inf, 4000.0]


def test_longest_items_are_cut():
    long = Example(NOISE[0].repeat(1, 2), NOISE[1:].repeat(1, 1, 2))
    assert collate([(0, long), (1, Example(NOISE[0], NOISE[1:]))]).sources.shape == (2, 2, 2, 50)


def test_statistics_are_taken_without_augmentations():
    # Those of 1.3.0 were of augmented audio for all datasets but MUSDB18.
    loud = Tones()
    loud.source_augmentations = lambda audio: 9 * audio
    plain = Examples(loud, TARGETS, 2).without_augmentations()
    assert torch.equal(plain[1].mixture, Examples(Tones(), TARGETS, 2)[1].mixture)
    assert loud[0].mixture.abs().max() > 4 * plain[0].mixture.abs().max()  # as it was
    taken = [batch.items for batch in batches(loud).statistics(3)]
    assert taken == [[0], [2], [5]]
    first = next(batches(loud).statistics(3))
    assert torch.equal(first.mixture[0], plain[0].mixture)


def mixer(batch_size=4):
    """Make a mixer of two sources of noise."""
    waveform = (3000 * NOISE[0]).to(torch.int16)
    stems = [Stem("a", target, waveform, 0.1) for target in TARGETS]
    library = StemLibrary(stems, TARGETS)
    return Mixer(library, MixingConfig(), TARGETS, 40, batch_size, 8000)


def test_batches_of_a_mixer_follow_from_the_step():
    made = list(MixedBatches(mixer(), 10).between(3, 6))
    for step, batch in enumerate(made, start=3):
        assert torch.equal(batch.mixture, mixer().batch(step).mixture)
        assert batch.items == [4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3]


def test_processes_share_batches_of_a_mixer():
    shares = [next(MixedBatches(mixer(), 10, rank, 2).between(7, 8)) for rank in (0, 1)]
    whole = mixer().batch(7)
    for rank, share in enumerate(shares):
        torch.testing.assert_close(share.sources, whole.sources[rank::2])
    with pytest.raises(TrainingError, match="batch of 4 cannot be shared by 3 processes"):
        MixedBatches(mixer(), 10, 0, 3)


def test_statistics_of_mixtures_are_those_of_the_first_batches():
    taken = list(MixedBatches(mixer(), 10).statistics(6))
    assert [batch.items for batch in taken] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_everything_can_be_sent_to_a_new_process():
    # On macOS and Windows, workers are not forked but started.
    loader = batches(Tones(), workers=1)._loader
    for part in (loader.dataset, loader.collate_fn, loader.worker_init_fn):
        copy = ForkingPickler.loads(ForkingPickler.dumps(part))
        assert type(copy) is type(part)
    assert copy is loader.worker_init_fn
