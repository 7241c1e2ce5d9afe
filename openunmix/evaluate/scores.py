"""The scores of tracks, as objects, as JSON that museval reads, and as tables."""

from __future__ import annotations

import csv
import json
import math
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

__all__ = [
    "METRICS",
    "WHOLE_TRACK",
    "TrackScores",
    "median_over_tracks",
    "score_estimates",
    "write_tables",
]


def score_estimates(
    references: Mapping[str, Tensor],
    estimates: Mapping[str, Tensor],
    sample_rate: int,
    window: float = 1.0,
    hop: float = 1.0,
) -> TrackScores:
    """Score estimates in memory.

    With ``vocals`` and ``accompaniment`` among the targets these two are compared with each other
    only, and the rest among themselves, as museval does.

    Parameters
    ----------
    references : mapping of str to Tensor [shape=(channels, samples)], real
        The true sources by target. One that is silent is left out: BSS Eval cannot score it.
    estimates : mapping of str to Tensor [shape=(channels, samples)], real
        The estimates by target.
    sample_rate : int
        Hz.
    window, hop : float > 0
        Length of the frames and distance between their starts, in seconds.

    Returns
    -------
    TrackScores
        The scores; ``name``, ``subset`` and ``settings`` are empty.

    Raises
    ------
    ValueError
        If fewer than two references have sound, or an estimate is missing or silent, has values
        that are not finite or another shape than the references.
    """
    scores = TrackScores("", "", {}, window=window, hop=hop)
    sounding = []
    for name, reference in references.items():
        if not reference.sum(dim=0).any():
            scores.notes.append(f"{name} is silent in this track and left out")
            continue
        _check_estimate(name, reference, estimates)
        sounding.append(name)
    for compared, kept in _scenarios(sounding):
        columns = bss_eval(
            [references[name] for name in compared],
            [estimates[name] for name in compared],
            sample_rate,
            window,
            hop,
        )
        by_metric = {metric: getattr(columns, metric.lower()).tolist() for metric in METRICS}
        for number, name in enumerate(compared):
            if name in kept:
                scores.frames[name] = {key: rows[number] for key, rows in by_metric.items()}
    if not scores.frames:
        raise ValueError(
            f"two or more of {', '.join(references)} must sound, since BSS Eval tells sources "
            f"apart; {' and '.join(sounding) or 'none'} does"
        )
    for name in scores.frames:
        pair = references[name], estimates[name]
        scores.whole_track[name] = {
            "sdr_mdx21": float(sdr_mdx21(*pair)),
            "si_sdr": float(si_sdr(*pair)),
        }
    doubtful = [name for name in scores.frames if _is_doubtful(scores, name)]
    if doubtful:
        scores.notes.append(
            f"use only SDR: SAR of {' and '.join(doubtful)} is far below it, as happens where "
            "stems have no treble, such as decoded Vorbis; as 16-bit files they can be scored"
        )
    return scores


def _is_doubtful(scores: TrackScores, target: str) -> bool:
    """Whether artifacts exceed all errors together, of which they are a part."""
    return scores.median(target, "SAR") < scores.median(target, "SDR") - 3


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
        raise ValueError(f"the estimate of {name} is silent; BSS Eval cannot score silence")


def _scenarios(names: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield which sources are compared with each other, and of which the scores are kept."""
    pair = ["vocals", "accompaniment"]
    others = [name for name in names if name != "accompaniment"]
    if not set(pair) <= set(names):
        others, pair = list(names), []
    if len(others) >= 2:
        yield others, [name for name in others if name not in pair]
    if pair:
        yield pair, pair


#: The measures of BSS Eval, in the order of tables.
METRICS = ("SDR", "ISR", "SIR", "SAR")
#: Measures of whole tracks: other definitions, never in one table with those above.
WHOLE_TRACK = ("sdr_mdx21", "si_sdr")
METHOD = "BSS Eval v4, as museval 0.4.1"

Frames = dict[str, dict[str, list[float]]]


@dataclass
class TrackScores:
    """Scores of the estimates of one track.

    Attributes
    ----------
    name, subset : str
        The track.
    frames : dict of str to dict of str to list of float
        dB by target, measure of :data:`METRICS` and frame; NaN where not defined.
    whole_track : dict of str to dict of str to float
        dB by target and measure of :data:`WHOLE_TRACK`.
    settings : dict of str to Any
        What made the estimates; scores are compared only where these are equal.
    notes : list of str
        What was left out, and why.
    window, hop : float
        Length of a frame and distance between frames, in seconds.
    """

    name: str
    subset: str
    frames: Frames
    whole_track: dict[str, dict[str, float]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    window: float = 1.0
    hop: float = 1.0

    @property
    def scores(self) -> dict[str, Any]:
        """The scores in the structure of museval's files; ``inf`` becomes NaN, as there."""
        targets = [
            {
                "name": target,
                "frames": [
                    {
                        "time": number * self.hop,
                        "duration": self.window,
                        "metrics": {metric: _rounded(values[metric][number]) for metric in METRICS},
                    }
                    for number in range(len(values[METRICS[0]]))
                ],
            }
            for target, values in self.frames.items()
        ]
        whole = {
            target: {metric: _rounded(value) for metric, value in values.items()}
            for target, values in self.whole_track.items()
        }
        return {
            "targets": targets,
            "openunmix": {
                "version": __version__,
                "method": METHOD,
                "whole_track": whole,
                "settings": self.settings,
                "notes": self.notes,
            },
        }

    @property
    def json(self) -> str:
        """The scores as JSON, with the literal NaN, as museval writes it."""
        return json.dumps(self.scores, indent=1)

    @property
    def df(self) -> Any:
        """The scores as the pandas table that ``museval.EvalStore.add_track`` takes."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError(
                "TrackScores.df needs pandas: pip install 'openunmix[evaluate]'"
            ) from error
        return pandas.DataFrame(
            [
                {
                    "time": number * self.hop,
                    "target": target,
                    "metric": metric,
                    "score": _rounded(value),
                    "track": self.name,
                }
                for metric in ("SDR", "SAR", "ISR", "SIR")
                for target, values in self.frames.items()
                for number, value in enumerate(values[metric])
            ]
        )

    def median(self, target: str, metric: str) -> float:
        """Median over the frames in which a measure is finite.

        Parameters
        ----------
        target : str
            One of the targets.
        metric : str
            One of :data:`METRICS`.

        Returns
        -------
        float
            dB; NaN if there are no such frames.
        """
        return median_of(self.frames.get(target, {}).get(metric, []))

    def save(self, path: Path) -> None:
        """Write the scores as JSON.

        Parameters
        ----------
        path : Path
            The file; its folder is made if need be.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(self.json, "utf-8")

    @classmethod
    def load(cls, path: Path) -> TrackScores:
        """Read a file of scores, ours or museval's.

        Raises
        ------
        ValueError
            If it is neither.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
            own = content.get("openunmix", {})
            frames = {target["name"]: _columns(target["frames"]) for target in content["targets"]}
            whole, settings = own.get("whole_track", {}), own.get("settings", {})
            return cls(path.stem, path.parent.name, frames, whole, settings, own.get("notes", []))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a file of scores; remove it: {error}") from error

    def __str__(self) -> str:
        """Return the medians over frames, a line per target."""
        return "\n".join(
            f"{target:<16}"
            + "  ".join(f"{metric}:{self.median(target, metric):8.3f}" for metric in METRICS)
            for target in self.frames
        )


def _columns(frames: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Turn a list of frames into a list per measure."""
    rows = [frame["metrics"] for frame in frames]
    return {metric: [float(row[metric]) for row in rows] for metric in METRICS}


def _rounded(value: float) -> float:
    """Return a number as museval writes it: five decimals, and NaN for what is not finite."""
    return round(value, 5) if math.isfinite(value) else math.nan


def median_of(values: Iterable[float]) -> float:
    """Return the median of what is finite, NaN if nothing is."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def median_over_tracks(tracks: Sequence[TrackScores]) -> dict[str, dict[str, float]]:
    """Score of a system: the median over tracks of the median over frames.

    Parameters
    ----------
    tracks : sequence of TrackScores
        Scores of its estimates.

    Returns
    -------
    dict of str to dict of str to float
        dB by target and measure; NaN where no track has a number.
    """
    targets = dict.fromkeys(target for track in tracks for target in track.frames)
    medians = {
        target: {
            metric: median_of(track.median(target, metric) for track in tracks)
            for metric in METRICS
        }
        for target in targets
    }
    for target, values in medians.items():
        for metric in WHOLE_TRACK:
            values[metric] = median_of(
                track.whole_track.get(target, {}).get(metric, math.nan) for track in tracks
            )
    return medians


def write_tables(folder: Path, tracks: Sequence[TrackScores]) -> list[Path]:
    """Write two CSV files: medians over frames of BSS Eval, and measures of whole tracks.

    Parameters
    ----------
    folder : Path
        Where to write.
    tracks : sequence of TrackScores
        A row for each track and target.

    Returns
    -------
    list of Path
        The files.
    """
    frames, whole = [["track", "target", *METRICS]], [["track", "target", *WHOLE_TRACK]]
    for track in tracks:
        for target in track.frames:
            values = [track.median(target, metric) for metric in METRICS]
            frames.append([track.name, target, *map(_cell, values)])
        for target, measures in track.whole_track.items():
            whole.append([track.name, target, *(_cell(measures[name]) for name in WHOLE_TRACK)])
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "bss_eval.csv", folder / "whole_track.csv"]
    for path, rows in zip(paths, (frames, whole), strict=True):
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows(rows)
    return paths


def _cell(value: float) -> str:
    """Return a number for a table, nothing where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else ""
