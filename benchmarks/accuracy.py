"""Accuracy of chunks and precision: estimates against those of the whole song in float32.

::

    python benchmarks/accuracy.py DATA/valid DATA/train/eif-Lithium --model umxs

Prints the tables of ``docs/performance.md``. A folder is a track with stems, or contains such
tracks; the mixture is the sum of the stems, at most four minutes, which in memory are one chunk.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from separation import Table, add_save_option, has_bfloat16, machine, report
from torch import Tensor

from openunmix.data.tracks import TrackAudio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.model import Separator
from openunmix.predict.stream import StreamConfig, separate_blocks, separate_waveform
from openunmix.training.validation import load_validation_tracks, median_scores, track_scores
from openunmix.utils import load_separator

RATE = 44100
LONGEST = 240 * RATE

WINDOWS = [300, 150, 600, None]


@dataclass
class Difference:
    """Levels in dB of an error, one per 50 ms and target, in total, and the change of SDR."""

    local: Tensor
    song: Tensor
    total: float
    sdr: Tensor


def main() -> None:
    """Print the error of every setting, relative to the whole song in float32."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="umxs")
    add_save_option(parser)
    args = parser.parse_args()

    separator = load_separator(args.model, niter=1)
    targets = list(separator.target_models)
    songs = [song for folder in args.folders for song in find_songs(folder, targets)]
    seconds = sum(song.mixture.shape[-1] for song in songs) / RATE
    columns = ["networks", "total", "median of 50 ms", "worst 50 ms", "worst against the song"]
    table = Table([*columns, "SDR"], ["", *["{:.0f}"] * 4, "{:+.3f}"])
    settings = SETTINGS | (HALF if has_bfloat16() else {})
    differences: dict[str, list[Difference]] = {name: [] for name in settings}
    for song in songs:
        exact = separate_waveform(separator, song.mixture, StreamConfig(exact=True))
        for name, (separate, config) in settings.items():
            estimates = separate(separator, song.mixture, config)
            differences[name].append(difference(song, exact, estimates))
    for name, found in differences.items():
        table.rows.append([name, *row(found)])
    caption = f"{args.model}, {len(songs)} songs, {seconds:.0f} s, {machine()}, "
    caption += f"{datetime.date.today()}"
    command = f"benchmarks/accuracy.py FOLDERS --model {args.model}"
    report("accuracy", command, caption, {"table": table}, args.save)
    report("windows", command, caption, {"table": windows(separator, songs)}, args.save)


def separate_stream(separator: Separator, mixture: Tensor, config: StreamConfig) -> Tensor:
    """Separate a signal as a stream."""
    return torch.cat(list(separate_blocks(separator, [mixture], config)), dim=-1)


SETTINGS = {
    "float32, in memory": (separate_waveform, StreamConfig()),
    "float32, stream, lookahead 512": (separate_stream, StreamConfig(lookahead=512)),
    "float32, stream, lookahead 1024": (separate_stream, StreamConfig(lookahead=1024)),
    "float32, stream, lookahead 2048 (default)": (separate_stream, StreamConfig()),
}
HALF = {
    "bfloat16, in memory": (separate_waveform, StreamConfig(precision="bf16")),
    "bfloat16, stream": (separate_stream, StreamConfig(precision="bf16")),
}


def windows(separator: Separator, songs: Sequence[TrackAudio]) -> Table:
    """Return the median SDR of every target for several windows of the Wiener filter."""
    targets = list(separator.target_models)
    table = Table(["window", *targets], ["", *["{:.2f}"] * len(targets)])
    for window in WINDOWS:
        separator.wiener_win_len = window
        scores = median_scores(track_scores(separator, songs))
        table.rows.append([str(window or "whole song"), *(scores[target] for target in targets)])
    return table


def find_songs(folder: Path, targets: Sequence[str]) -> list[TrackAudio]:
    """Load a track, or all tracks of a folder."""
    is_track = any(path.is_file() for path in folder.iterdir())
    with tempfile.TemporaryDirectory() as root:
        os.symlink(folder.resolve(), Path(root, folder.name))
        songs = load_validation_tracks(Path(root) if is_track else folder, targets, RATE)
    return [beginning(song) for song in songs]


def beginning(song: TrackAudio) -> TrackAudio:
    """Return the first minutes of the stems, and their sum."""
    sources = {name: source[..., :LONGEST] for name, source in song.sources.items()}
    return replace(song, mixture=torch.stack([*sources.values()]).sum(dim=0), sources=sources)


def difference(song: TrackAudio, exact: Tensor, estimates: Tensor) -> Difference:
    """Compare estimates (targets, channels, samples) with those of the whole song."""
    error, level = powers(estimates - exact), powers(exact)
    non_silent = level > 1e-6 * level.amax()  # within 60 dB of the loudest
    average = level.mean(dim=-1, keepdim=True)
    total = (estimates - exact).double().square().sum() / exact.double().square().sum()
    change = sdr_mdx21(song.stacked, estimates) - sdr_mdx21(song.stacked, exact)
    return Difference(
        decibels(error[non_silent] / level[non_silent]),
        decibels(error / average.clamp(min=1e-12)).flatten(),
        float(decibels(total)),
        change,
    )


def powers(waveforms: Tensor) -> Tensor:
    """Mean power of each 50 ms: (targets, channels, samples) to (targets, windows)."""
    length = RATE // 20
    usable = waveforms.shape[-1] // length * length
    squares = waveforms[..., :usable].double().square().mean(dim=1)
    return squares.reshape(len(waveforms), -1, length).mean(dim=-1)


def decibels(ratio: Tensor) -> Tensor:
    """Convert a power ratio to decibels, at least -200."""
    return 10 * torch.log10(ratio.clamp(min=1e-20))


def row(found: Sequence[Difference]) -> list[float]:
    """Summarise the differences over all songs."""
    local = torch.cat([each.local for each in found])
    worst = max(float(each.song.max()) for each in found)
    total = max(each.total for each in found)
    changes = torch.stack([each.sdr for each in found])
    change = changes[changes.isfinite()].median()
    return [total, float(local.median()), float(local.max()), worst, float(change)]


if __name__ == "__main__":
    main()
