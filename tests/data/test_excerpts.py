"""Excerpts: within their tracks, anywhere in them, and the same for the same numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openunmix.data.base import item_generator
from openunmix.data.excerpts import excerpt_of


@given(
    available=st.integers(1, 10**7),
    length=st.none() | st.integers(1, 10**7),
    seed=st.none() | st.integers(0, 9),
    centred=st.booleans(),
)
def test_excerpt_lies_in_its_track(available, length, seed, centred):
    generator = None if seed is None else np.random.default_rng(seed)
    start, found = excerpt_of(available, length, generator, centred)
    assert 0 <= start <= start + found <= available
    assert found == min(available, length or available)


def test_every_start_is_drawn():
    generator = np.random.default_rng(0)
    assert {excerpt_of(10, 7, generator).start for _ in range(100)} == {0, 1, 2, 3}


def test_excerpt_is_at_the_beginning_or_in_the_middle_unless_drawn():
    assert excerpt_of(100, 30) == (0, 30)
    assert excerpt_of(100, 30, centred=True) == (35, 30)
    assert excerpt_of(100, 130, centred=True) == (0, 100)


def test_generators_follow_from_seed_epoch_and_index():
    numbers = [
        item_generator(*place).integers(2**60) for place in itertools.product(range(4), repeat=3)
    ]
    assert len(set(numbers)) == 4**3
    assert item_generator(1, 2, 3).integers(2**60) == item_generator(1, 2, 3).integers(2**60)


def test_negative_seed_is_an_error():
    with pytest.raises(ValueError, match="seed=-1, epoch=0 and index=0 must not be negative"):
        item_generator(-1, 0, 0)
