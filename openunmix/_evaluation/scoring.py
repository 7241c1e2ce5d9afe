"""From waveforms to scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from openunmix._evaluation.scores import METRICS, TrackScores
from openunmix.bss_eval import bss_eval
from openunmix.metrics import sdr_mdx21, si_sdr

__all__ = ["score_estimates"]


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
