"""Synthetic tracks: drums, bass, chords and a voice that sings vowels.

They have the cues that separation relies on: transients and unpitched noise, a bass line, chords,
and a gliding pitch with formants, all in one tempo and key. They need no files and never end.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from openunmix.data._instruments import PLAYERS, new_plan
from openunmix.data.augment.sources import Augmentation
from openunmix.data.base import MixingDataset

# Root mean square of the sources, full scale being 1, and its standard deviation in dB.
_LEVEL, _SPREAD = 0.04, 2.5
# Seconds of a whole track.
_DURATION = 12.0


def synthetic_song(
    generator: np.random.Generator, samples: int, sample_rate: int = 44100
) -> dict[str, Tensor]:
    """Generate a synthetic track.

    Parameters
    ----------
    generator : numpy Generator
        Determines key, tempo, chords, melody, timbres and levels.
    samples : int
        Length in samples.
    sample_rate : int
        Hz.

    Returns
    -------
    dict of str to Tensor [shape=(channels=2, samples)], real
        Vocals, drums, bass and other, at levels as in a mix.

    Examples
    --------
    >>> song = synthetic_song(np.random.default_rng(0), 44100)
    >>> {name: tuple(source.shape) for name, source in song.items()}["bass"]
    (2, 44100)
    """
    plan = new_plan(generator, samples, sample_rate)
    track = {}
    for name, player in PLAYERS.items():
        signal = torch.from_numpy(player(plan, generator))
        level = _LEVEL * 10 ** (generator.normal(0, _SPREAD) / 20)
        track[name] = signal * (level / (signal.square().mean().sqrt() + 1e-9))
    return track


class SyntheticDataset(MixingDataset):
    """Synthetic tracks of vocals, drums, bass and other instruments, generated on the fly.

    Every item is a stereo track of its own. Every epoch has other tracks, except that the split
    ``"valid"`` always has the same ones, none of which is in ``"train"``.

    Parameters
    ----------
    target : str
        ``"vocals"``, ``"drums"``, ``"bass"`` or ``"other"``.
    split : str
        ``"train"`` or ``"valid"``.
    nb_samples : int
        Number of tracks in an epoch.
    seq_duration : float, optional
        Duration of an item in seconds; 12 if not given.
    source_augmentations, sample_rate, seed
        As for :class:`~openunmix.data.UnmixDataset`.

    Examples
    --------
    >>> mixture, target = SyntheticDataset("drums", seq_duration=1.0)[0]
    >>> mixture.shape, target.shape
    (torch.Size([2, 44100]), torch.Size([2, 44100]))
    """

    def __init__(
        self,
        target: str = "vocals",
        split: str = "train",
        nb_samples: int = 1000,
        seq_duration: float | None = 6.0,
        source_augmentations: Augmentation | None = None,
        sample_rate: float = 44100.0,
        seed: int = 42,
    ) -> None:
        super().__init__(None, sample_rate, seq_duration, source_augmentations, split, seed=seed)
        if target not in PLAYERS:
            raise ValueError(f"no target {target!r} in synthetic songs; choose from {[*PLAYERS]}")
        self.target = target
        self.nb_samples = nb_samples
        self.channels = 2

    def sources(self, index: int) -> dict[str, Tensor]:
        """Return vocals, drums, bass and other (channels, samples) of track ``index``."""
        generator = self.generator(self._checked(index))
        if self.split == "valid":  # other tracks than in the first epoch of training
            generator = np.random.default_rng(generator.integers(2**63, size=2))
        samples = self._excerpt_length or round(_DURATION * self._rate)
        song = synthetic_song(generator, samples, self._rate)
        return {name: self.augment(source, generator) for name, source in song.items()}

    def __len__(self) -> int:
        return self.nb_samples
