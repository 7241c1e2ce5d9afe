"""Score a model on a folder of songs with true stems, as a Markdown table.

::

    python recipes/umxs/scores.py DATA/valid --model umxs

The score is the whole-track SDR of the Music Demixing Challenge, in dB, of what the ``umx`` command
writes. The mixture of a song is the sum of its stems.
"""

from __future__ import annotations

import argparse
import datetime
import math
from pathlib import Path

import torch

import openunmix
from openunmix.data.tracks import TrackAudio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.training.validation import load_validation_tracks, median_scores, track_scores
from openunmix.utils import load_separator

Scores = dict[str, dict[str, float]]


def main() -> None:
    """Print the scores of every song, their medians, and those of the mixture itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path, help="folder of track folders of stems")
    parser.add_argument("--model", default="umxs", help="name of a model, or a model folder")
    parser.add_argument("--niter", type=int, default=1)
    args = parser.parse_args()

    separator = load_separator(args.model, niter=args.niter)
    targets = list(separator.target_models)
    songs = load_validation_tracks(args.songs, targets, round(float(separator.sample_rate)))
    scores = track_scores(separator, songs)
    print(f"{args.model}, niter {args.niter}, {datetime.date.today()}, ", end="")
    print(f"Open-Unmix {openunmix.__version__}, torch {torch.__version__}\n")
    print("| song | " + " | ".join(targets) + " |")
    print("|---|" + "---|" * len(targets))
    rows = {
        **scores,
        "**median**": median_scores(scores),
        "median of the mixture itself": median_scores(mixture_scores(songs, targets)),
    }
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(shown(row[target]) for target in targets) + " |")


def shown(score: float) -> str:
    """Return a score for the table; there is none where the stem is silent."""
    return "" if math.isnan(score) else f"{score:.2f}"


def mixture_scores(songs: list[TrackAudio], targets: list[str]) -> Scores:
    """Return the scores that one gets for doing nothing."""
    scores = {}
    for song in songs:
        sources = song.stacked
        values = sdr_mdx21(sources, sources.sum(dim=0).expand_as(sources)).tolist()
        scores[song.name] = dict(zip(targets, values, strict=True))
    return scores


if __name__ == "__main__":
    main()
