"""The scores of tracks: computed, as JSON that museval reads, and as tables."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from openunmix._files import replacing
from openunmix._version import __version__
from openunmix.errors import MissingExtraError
from openunmix.evaluate.bss_eval import bss_eval
from openunmix.evaluate.metrics import sdr_mdx21, si_sdr

#: The metrics of BSS Eval, in the order of tables.
METRICS = ("SDR", "ISR", "SIR", "SAR")
#: The metrics of whole tracks: other definitions, never in one table with those above.
WHOLE_TRACK = {"sdr_mdx21": sdr_mdx21, "si_sdr": si_sdr}
METHOD = "BSS Eval v4, as museval 0.4.1"

# What a file that is no file of scores may raise when it is read.
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError),
)


def score_estimates(
    references: Mapping[str, Tensor], estimates: Mapping[str, Tensor], sample_rate: int
) -> TrackScores:
    """Score estimates (channels, samples) by target; ``name``, ``subset``, ``settings`` are empty.

    If ``vocals`` and ``accompaniment`` are among the targets, these two are compared only with each
    other, and the remaining targets among themselves, as in museval. Silent references are left
    out. Raises ValueError with fewer than two others, or for an estimate that cannot be scored.
    """
    scores = TrackScores("", "", {})
    non_silent = []
    for name, reference in references.items():
        if not reference.sum(dim=0).any():
            scores.notes.append(f"{name} is silent in this track and left out")
            continue
        _check_estimate(name, reference, estimates)
        non_silent.append(name)
    for compared, kept in _scenarios(non_silent):
        true, estimated = ([group[name] for name in compared] for group in (references, estimates))
        columns = bss_eval(true, estimated, sample_rate)
        for name, *values in zip(compared, *columns, strict=True):
            if name in kept:
                frames = (value.tolist() for value in values)
                scores.frames[name] = dict(zip(METRICS, frames, strict=True))
    if not scores.frames:
        raise ValueError(
            f"at least two of {', '.join(references)} must be non-silent for BSS Eval; non-silent: "
            f"{' and '.join(non_silent) or 'none'}"
        )
    for name in scores.frames:
        scores.whole_track[name] = {
            metric: float(measure(references[name], estimates[name]))
            for metric, measure in WHOLE_TRACK.items()
        }
    # Artifacts are a part of all errors, so that SAR cannot be well below SDR. Without an error SDR
    # is inf, and SAR is about 300 dB for rounding errors.
    medians = {
        name: (scores.median(name, "SDR"), scores.median(name, "SAR")) for name in non_silent
    }
    doubtful = [name for name, (sdr, sar) in medians.items() if sar < min(sdr, 100) - 3]
    if doubtful:
        scores.notes.append(
            f"use only SDR: SAR of {' and '.join(doubtful)} is far below it, as for stems without "
            "treble, such as decoded Vorbis; stored as 16-bit files they can be scored"
        )
    return scores


def _check_estimate(name: str, reference: Tensor, estimates: Mapping[str, Tensor]) -> None:
    """Raise ValueError for an estimate that cannot be scored."""
    if name not in estimates:
        raise ValueError(f"there is no estimate of {name}, but of {list(estimates)}")
    estimate = estimates[name]
    if estimate.shape != reference.shape:
        raise ValueError(
            f"the estimate of {name} has shape {tuple(estimate.shape)}, the reference "
            f"{tuple(reference.shape)}; they must be the same"
        )
    if not estimate.isfinite().all():
        raise ValueError(f"the estimate of {name} has values that are not finite")
    if not estimate.sum(dim=0).any():
        raise ValueError(f"the estimate of {name} is silent, which BSS Eval cannot score")


def _scenarios(names: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the sources that are compared with each other, and those whose scores are kept."""
    pair = ["vocals", "accompaniment"]
    others = [name for name in names if name != "accompaniment"]
    if not set(pair) <= set(names):
        others, pair = list(names), []
    if len(others) >= 2:
        yield others, [name for name in others if name not in pair]
    if pair:
        yield pair, pair


@dataclass
class TrackScores:
    """Scores of the estimates of one track."""

    name: str
    subset: str
    #: dB by target, metric of :data:`METRICS` and frame of one second; NaN where undefined, inf
    #: without an error.
    frames: dict[str, dict[str, list[float]]]
    #: dB by target and metric of :data:`WHOLE_TRACK`.
    whole_track: dict[str, dict[str, float]] = field(default_factory=dict)
    #: Settings of the system that made the estimates; only equal ones are comparable.
    settings: dict[str, Any] = field(default_factory=dict)
    #: SHA-256 of the files by group and name, see :func:`openunmix.evaluate.earlier.input_hashes`.
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Sources that were left out, and doubtful scores.
    notes: list[str] = field(default_factory=list)

    @property
    def scores(self) -> dict[str, Any]:
        """The scores in the structure of museval's files, with None for NaN."""
        targets = [
            {
                "name": target,
                "frames": [
                    {
                        "time": float(number),
                        "duration": 1.0,
                        "metrics": dict(zip(METRICS, map(_stored, frame), strict=True)),
                    }
                    for number, frame in enumerate(zip(*map(values.get, METRICS), strict=True))
                ],
            }
            for target, values in self.frames.items()
        ]
        whole = {
            target: {metric: _stored(value) for metric, value in values.items()}
            for target, values in self.whole_track.items()
        }
        return {
            "targets": targets,
            "openunmix": {
                "version": __version__,
                "method": METHOD,
                "whole_track": whole,
                "settings": self.settings,
                "files": self.files,
                "notes": self.notes,
            },
        }

    @property
    def df(self) -> Any:
        """The scores as the pandas table that ``museval.EvalStore.add_track`` takes."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError(
                "TrackScores.df needs pandas: pip install 'openunmix[evaluate]'"
            ) from error
        rows = [
            (float(number), target, metric, round(value, 5), self.name)
            for metric in ("SDR", "SAR", "ISR", "SIR")
            for target, values in self.frames.items()
            for number, value in enumerate(values[metric])
        ]
        return pandas.DataFrame(rows, columns=["time", "target", "metric", "score", "track"])

    def median(self, target: str, metric: str) -> float:
        """Score of the track in dB: the median over frames without NaN, or a whole-track metric."""
        if metric in WHOLE_TRACK:
            return self.whole_track.get(target, {}).get(metric, math.nan)
        return _median(self.frames.get(target, {}).get(metric, []))

    def save(self, path: Path) -> None:
        """Write the scores as JSON: ``null`` for NaN, ``1e999`` for ``inf``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.scores, indent=1)
        # JSON (RFC 8259) has no infinity, but numbers of any size: readers round this one to inf.
        text = re.sub(r": (-?)Infinity(,?)$", r": \g<1>1e999\2", text, flags=re.MULTILINE)
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8")

    @classmethod
    def load(cls, path: Path) -> TrackScores:
        """Read a file of scores, ours or museval's; raise ValueError for any other."""
        try:
            content = json.loads(path.read_text("utf-8-sig"))
            own = content.get("openunmix", {})
            frames = {target["name"]: _columns(target["frames"]) for target in content["targets"]}
            whole = {
                target: {metric: _read(value) for metric, value in values.items()}
                for target, values in own.get("whole_track", {}).items()
            }
            files = {group: dict(hashes) for group, hashes in own.get("files", {}).items()}
            settings, notes = dict(own.get("settings", {})), list(map(str, own.get("notes", [])))
            return cls(path.stem, path.parent.name, frames, whole, settings, files, notes)
        except _UNREADABLE as error:
            raise ValueError(f"{path} is not a file of scores: {error}") from error

    def __str__(self) -> str:
        """Medians over frames, one line per target."""
        return "\n".join(
            f"{target:<16}"
            + "  ".join(f"{metric}:{self.median(target, metric):8.3f}" for metric in METRICS)
            for target in self.frames
        )


def _columns(frames: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Values by metric, from a list of frames."""
    rows = [frame["metrics"] for frame in frames]
    return {metric: [_read(row[metric]) for row in rows] for metric in METRICS}


def _read(value: float | None) -> float:
    """Value of a file; NaN for null."""
    return math.nan if value is None else float(value)


def _stored(value: float) -> float | None:
    """Value for a file, rounded to five decimals as museval does; None for NaN."""
    return None if math.isnan(value) else round(value, 5)


def _median(values: Iterable[float]) -> float:
    """Median without NaN, as in pandas; NaN if nothing remains."""
    defined = [value for value in values if not math.isnan(value)]
    return statistics.median(defined) if defined else math.nan


def median_over_tracks(tracks: Sequence[TrackScores]) -> dict[str, dict[str, float]]:
    """Scores of a system: the median over tracks of the median over frames.

    Parameters
    ----------
    tracks : sequence of TrackScores
        Scores of its estimates.

    Returns
    -------
    dict of str to dict of str to float
        dB by target and metric; NaN where it is undefined in all tracks.
    """
    targets = dict.fromkeys(target for track in tracks for target in track.frames)
    return {
        target: {
            metric: _median(track.median(target, metric) for track in tracks)
            for metric in (*METRICS, *WHOLE_TRACK)
        }
        for target in targets
    }


def write_tables(folder: Path, tracks: Sequence[TrackScores]) -> None:
    """Write ``bss_eval.csv``, medians over frames, and ``whole_track.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, metrics in (("bss_eval", METRICS), ("whole_track", WHOLE_TRACK)):
        path = folder / f"{name}.csv"
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["track", "target", *metrics])
            for track in tracks:
                for target in track.frames:
                    values = [_cell(track.median(target, metric)) for metric in metrics]
                    writer.writerow([track.name, target, *values])


def _cell(value: float) -> str:
    """Format a number for a table; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.3f}"
