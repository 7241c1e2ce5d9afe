"""Augmentations: what they do to a source, and where their random numbers come from."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from helpers.checks import check_not_mutated
from helpers.sounds import noise

from openunmix import data
from openunmix.data.augment.sources import Compose, aug_from_str, augmented


def draws(seed=0):
    """Return a generator for one item."""
    return np.random.default_rng(seed)


def double(audio):
    return 2 * audio


def test_gain_is_drawn_between_its_limits():
    generator = draws()
    audio = torch.ones(2, 3)
    gains = torch.stack([data._augment_gain(audio, generator=generator) for _ in range(500)])
    assert (gains == gains[:, :1, :1]).all()
    assert 0.25 <= gains.min() < 0.27
    assert 1.23 < gains.max() <= 1.25
    assert float(data._augment_gain(audio, 3, 3)[0, 0]) == 3


def test_channels_are_swapped_half_of_the_time():
    audio, generator = noise(10), draws()
    results = [data._augment_channelswap(audio, generator=generator) for _ in range(400)]
    swapped = [torch.equal(result, audio.flip(0)) for result in results]
    assert all(s or torch.equal(result, audio) for s, result in zip(swapped, results, strict=True))
    assert 150 < sum(swapped) < 250


@pytest.mark.parametrize("channels", [1, 3])
def test_only_stereo_is_swapped(channels):
    audio = noise(10, channels)
    for seed in range(8):
        assert torch.equal(data._augment_channelswap(audio, generator=draws(seed)), audio)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_force_stereo_gives_two_channels(channels):
    audio = noise(10, channels)
    expected = audio[[0, 0]] if channels == 1 else audio[:2]
    assert torch.equal(data._augment_force_stereo(audio), expected)


@pytest.mark.parametrize("name", ["gain", "channelswap", "force_stereo"])
def test_augmentations_leave_their_argument_alone(name):
    check_not_mutated(aug_from_str([name]), noise(10))


def test_same_generator_gives_the_same_audio():
    both = aug_from_str(["gain", "channelswap"])
    audio = noise(10)
    first, again = (both(audio, generator=draws(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, both(audio, generator=draws(4)))


def test_call_of_1_3_0_draws_from_the_global_generator_of_torch():
    # Other global generators are the same in all workers of a loader.
    audio = noise(10)
    random.seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first, other = data._augment_gain(audio), data._augment_gain(audio)
        torch.manual_seed(5)
        again = data._augment_gain(audio)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_composition_applies_one_after_the_other():
    composed = Compose([double, torch.exp, data._augment_force_stereo])
    audio = noise(10, 3)
    assert torch.equal(composed(audio), torch.exp(2 * audio)[:2])


def test_functions_with_and_without_a_generator_can_be_mixed():
    audio = torch.ones(1, 2)
    composed = Compose([torch.neg, data._augment_gain, double])
    expected = -2 * data._augment_gain(audio, generator=draws())
    assert torch.equal(composed(audio, generator=draws()), expected)
    assert torch.equal(augmented(double, audio, draws()), 2 * audio)


@pytest.mark.parametrize("names", [None, []])
def test_no_names_leave_the_audio_as_it_is(names):
    audio = noise(10)
    assert aug_from_str(names)(audio) is audio
    assert augmented(None, audio, draws()) is audio


def test_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"\['pitch'\]; choose from \['gain', 'channelswap'"):
        aug_from_str(["gain", "pitch"])


@pytest.mark.parametrize("names", [[], ["gain", "channelswap", "force_stereo"]])
def test_augmentations_can_be_pickled(names):
    # The default of 1.3.0 was a lambda, so that no worker could be spawned.
    augmentation = aug_from_str(names)
    audio = noise(10)
    copy = pickle.loads(pickle.dumps(augmentation))
    assert torch.equal(copy(audio, generator=draws(1)), augmentation(audio, generator=draws(1)))
    assert repr(copy) == f"Compose({', '.join(names)})"
