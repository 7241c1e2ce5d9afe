"""Augmentations of single sources, before they are mixed, as in openunmix 1.3.0.

Each takes a waveform (channels, samples) and returns another one. A dataset passes its generator
for the item, so that the item follows from seed, epoch and index; called without one, as in
1.3.0, an augmentation draws from torch's global generator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from openunmix.data.augment.effects import swap_channels

#: From a waveform to a waveform, optionally with a keyword ``generator``.
Augmentation = Callable[..., Tensor]


def _augment_gain(
    audio: Tensor,
    low: float = 0.25,
    high: float = 1.25,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Multiply by a gain drawn uniformly between ``low`` and ``high``."""
    return audio * float(_or_global(generator).uniform(low, high))


def _augment_channelswap(audio: Tensor, generator: np.random.Generator | None = None) -> Tensor:
    """Swap left and right with a probability of 0.5; leave all but stereo alone."""
    swapped = torch.tensor(_or_global(generator).random() < 0.5)
    return swap_channels(audio, swapped) if audio.shape[0] == 2 else audio


def _augment_force_stereo(audio: Tensor) -> Tensor:
    """Duplicate a mono waveform, and keep the first two of more than two channels."""
    return audio.repeat(2, 1) if audio.shape[0] == 1 else audio[:2]


_BY_NAME: dict[str, Augmentation] = {
    "gain": _augment_gain,
    "channelswap": _augment_channelswap,
    "force_stereo": _augment_force_stereo,
}


def _or_global(generator: np.random.Generator | None) -> np.random.Generator:
    """Return the generator, or else one that follows from the state of torch's global one."""
    if generator is None:
        generator = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
    return generator


class Compose:
    """One augmentation after the other.

    Parameters
    ----------
    transforms : sequence of callable
        From a waveform (channels, samples) to another one, each with or without a keyword
        ``generator``. None at all leave the audio as it is.
    """

    def __init__(self, transforms: Sequence[Augmentation]) -> None:
        self.transforms = transforms

    def __call__(self, audio: Tensor, generator: np.random.Generator | None = None) -> Tensor:
        """Apply all of them to a waveform (channels, samples)."""
        generator = _or_global(generator)
        for transform in self.transforms:
            audio = augmented(transform, audio, generator)
        return audio

    def __repr__(self) -> str:
        names = [getattr(t, "__name__", repr(t)).removeprefix("_augment_") for t in self.transforms]
        return f"Compose({', '.join(names)})"


def augmented(
    augmentation: Augmentation | None, audio: Tensor, generator: np.random.Generator
) -> Tensor:
    """Apply an augmentation to a source (channels, samples); None leaves it unchanged.

    >>> augmented(torch.neg, torch.ones(1, 2), np.random.default_rng(0))
    tensor([[-1., -1.]])
    """
    if augmentation is None:
        return audio
    if _takes_generator(augmentation):
        return augmentation(audio, generator=generator)
    return augmentation(audio)


def _takes_generator(augmentation: Augmentation) -> bool:
    """Whether a function has a parameter ``generator``; those written in C may not tell."""
    try:
        return "generator" in inspect.signature(augmentation).parameters
    except ValueError:
        return False


def aug_from_str(list_of_function_names: Sequence[str] | None) -> Compose:
    """Return the augmentations of these names as one.

    Parameters
    ----------
    list_of_function_names : sequence of str, optional
        Any of ``gain`` (0.25 to 1.25), ``channelswap`` (half of the time) and ``force_stereo``,
        in the order in which to apply them.

    Returns
    -------
    Compose
        Their composition, which can be pickled; of no names, what leaves the audio as it is.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> aug_from_str(["gain", "channelswap"])
    Compose(gain, channelswap)
    """
    names = list_of_function_names or []
    unknown = [name for name in names if name not in _BY_NAME]
    if unknown:
        raise ValueError(f"unknown augmentations {unknown}; choose from {list(_BY_NAME)}")
    return Compose([_BY_NAME[name] for name in names])
