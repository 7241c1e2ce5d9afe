"""Which excerpt an item is: where it starts and how long it is.

All that is random about an item comes from one generator, which follows from the seed, the epoch
and the item's index alone. So it does not matter which worker makes the item, or in which order.
Positions are in samples, so that stems of one track stay aligned to the sample.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Excerpt", "excerpt_of", "item_generator"]


class Excerpt(NamedTuple):
    """A contiguous part of a track.

    Attributes
    ----------
    start : int
        First sample.
    length : int
        Number of samples.
    """

    start: int
    length: int


def item_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of all random numbers of an item.

    Parameters
    ----------
    seed : int >= 0
        Seed of the data set.
    epoch : int >= 0
        Epoch of training.
    index : int >= 0
        Index of the item.

    Returns
    -------
    numpy Generator
        Independent of those for other seeds, epochs and indices.

    Raises
    ------
    ValueError
        If one of them is negative.
    """
    if min(seed, epoch, index) < 0:
        raise ValueError(f"seed={seed}, epoch={epoch} and index={index} must not be negative")
    return np.random.default_rng((seed, epoch, index))


def excerpt_of(
    available: int,
    length: int | None,
    generator: np.random.Generator | None = None,
    centred: bool = False,
) -> Excerpt:
    """Choose an excerpt of a track.

    Parameters
    ----------
    available : int
        Samples of the track, or of the shortest of its stems.
    length : int or None
        Samples of the excerpt; None, or more than there are, means the whole track.
    generator : numpy Generator, optional
        Where to draw the start from, all that are possible being equally likely. Without it, the
        excerpt is at the beginning.
    centred : bool
        Without a generator: whether the excerpt is in the middle instead.

    Returns
    -------
    Excerpt
        Within the track.

    Examples
    --------
    >>> excerpt_of(100, 30)
    Excerpt(start=0, length=30)
    >>> excerpt_of(100, 30, centred=True)
    Excerpt(start=35, length=30)
    """
    length = available if length is None else min(length, available)
    spare = available - length
    if generator is not None:
        return Excerpt(int(generator.integers(spare + 1)), length)
    return Excerpt(spare // 2 if centred else 0, length)
