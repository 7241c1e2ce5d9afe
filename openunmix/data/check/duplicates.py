"""Duplicate recordings in a dataset, also at another level or in another coding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from openunmix.data.check.measure import Measure, similarity
from openunmix.data.check.report import Issue
from openunmix.data.tracks import Track

# Correlation of fingerprints above which two recordings are the same.
_SAME = 0.97
# What same recordings cannot differ by: length by a factor, spread of levels by dB.
_LENGTH, _SPREAD = 1.25, 1.5


def find_duplicates(streams: Iterable[tuple[str, str, Track, Measure]]) -> Iterator[Issue]:
    """Yield issues of tracks that share a recording: errors between splits, warnings within one.

    The streams are given as split, source, track and measure.
    """
    by_source = defaultdict(list)
    for split, source, track, measure in streams:
        by_source[source].append((split, str(track.path), measure))
    pairs: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for source, found in by_source.items():
        for i, j in _candidates([measure for _, _, measure in found]):
            if similarity(found[i][2].fingerprint, found[j][2].fingerprint) > _SAME:
                pairs[found[i][:2] + found[j][:2]].append(source)
    for (split, place, other_split, other), sources in pairs.items():
        again = f"{', '.join(sources)}: the same recording as in {other}"
        if split == other_split:
            advice = "it counts twice in training; remove one, unless that is meant"
            yield Issue("warning", "duplicate", place, again, advice)
        else:
            advice = "remove it from train or from valid: the validation loss would be worth little"
            yield Issue("error", "duplicate", place, f"{again} of {other_split}", advice)


def _candidates(measures: Sequence[Measure]) -> Iterator[tuple[int, int]]:
    """Pairs whose fingerprints have about the same length and the same spread of levels."""
    usable = [i for i, measure in enumerate(measures) if measure.fingerprint.shape[1]]
    if not usable:
        return
    lengths = np.array([measures[i].fingerprint.shape[1] for i in usable])
    spreads = np.array([measures[i].fingerprint.std(axis=1) for i in usable])
    for place, first in enumerate(usable):
        ratio = lengths[place + 1 :] / lengths[place]
        apart = np.abs(spreads[place + 1 :] - spreads[place]).max(axis=1, initial=0)
        near = (ratio < _LENGTH) & (ratio > 1 / _LENGTH) & (apart < _SPREAD)
        for other in np.flatnonzero(near):
            yield first, usable[place + 1 + int(other)]
