"""Scores of separated music: of models, of the estimates of other programs, and of oracles.

The commands are ``umx-evaluate`` and ``python -m openunmix.evaluate``. From Python,
:func:`evaluate_tracks` scores a dataset and :func:`separate_and_evaluate` a single track.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from openunmix.data.tracks import Track, TrackAudio, find_tracks
from openunmix.evaluate._jobs import Job, run_jobs, score_track
from openunmix.evaluate.earlier import EarlierScores, earlier_scores, score_file
from openunmix.evaluate.scores import TrackScores, median_over_tracks, write_tables
from openunmix.evaluate.system import WIENER_WIN_LEN, Estimator, System
from openunmix.pretrained import resolve_model

__all__ = [
    "Evaluation",
    "System",
    "Track",
    "TrackScores",
    "evaluate_tracks",
    "find_tracks",
    "median_over_tracks",
    "separate_and_evaluate",
]

Progress = Callable[[str, TrackScores | str], None]


class Evaluation(NamedTuple):
    """Scores of the tracks, and failures."""

    #: In the order of the tracks.
    scores: list[TrackScores]
    #: Reason why a track could not be scored, by its name.
    failures: dict[str, str]


def evaluate_tracks(
    tracks: Sequence[Track],
    system: System,
    eval_dir: Path,
    output_dir: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    earlier: EarlierScores | None = None,
) -> Evaluation:
    """Score a system on tracks.

    Scores in ``eval_dir`` are kept if they are of the same settings and of files with the same
    content, so that an interrupted run can be repeated; all others are replaced. A track that
    cannot be scored does not stop the others.

    Parameters
    ----------
    tracks : sequence of Track
        See :func:`find_tracks`.
    system : System
        The source of the estimates. Those in files are expected in ``subset/track`` or ``track``
        below the system's folder, a file per target, with the track's sample rate and length.
    eval_dir : Path
        Folder for the scores: ``subset/track.json``, which museval reads, and two tables.
    output_dir : Path, optional
        Folder for the estimates, ``subset/track/target.wav``; without it they are not written.
    workers : int > 0
        Number of processes; each may need 2.5 GB for a track of five minutes.
    progress : callable, optional
        Called with the name of each track that is finished, and its scores or the reason of its
        failure.
    earlier : EarlierScores, optional
        What ``openunmix.evaluate.earlier.earlier_scores`` has returned for these arguments.

    Returns
    -------
    Evaluation
        The scores and failures.
    """
    earlier = earlier or earlier_scores(tracks, system, eval_dir, output_dir)
    finished: dict[str, TrackScores | str] = {**earlier.kept}
    jobs = [
        Job(track, score_file(eval_dir, track), output_dir)
        for track in tracks
        if track.name not in finished
    ]
    for name, result in run_jobs(system, jobs, workers):
        finished[name] = result
        if progress:
            progress(name, result)
    results = {track.name: finished[track.name] for track in tracks}
    scores = [result for result in results.values() if not isinstance(result, str)]
    write_tables(eval_dir, scores)
    failures = {name: result for name, result in results.items() if isinstance(result, str)}
    return Evaluation(scores, failures)


def separate_and_evaluate(
    track: Any,
    targets: Sequence[str],
    model_str_or_path: str | Path,
    niter: int,
    output_dir: str | Path | None,
    eval_dir: str | Path | None,
    residual: bool,
    mus: Any = None,
    aggregate_dict: Mapping[str, Sequence[str]] | None = None,
    device: str | torch.device = "cpu",
    wiener_win_len: int | None = None,
    filterbank: str = "torch",
) -> TrackScores:
    """Separate and score one track; the function of openunmix 1.3.0.

    Parameters
    ----------
    track : musdb.MultiTrack or Track
        A track of the package ``musdb``, or one of :func:`find_tracks`.
    targets : sequence of str
        The sources to estimate.
    model_str_or_path : str or Path
        Name of a published model, or a model folder.
    niter : int
        Number of EM iterations.
    output_dir, eval_dir : str or Path, optional
        Folders for the estimates, ``subset/track/target.wav``, and scores, ``subset/track.json``.
    residual : bool
        Whether to score the residual as well.
    mus : Any
        Not used; 1.3.0 wrote the estimates with this ``musdb.DB``.
    aggregate_dict : mapping of str to sequence of str, optional
        Names, and the estimates to sum for each, in place of the targets.
    device, wiener_win_len, filterbank
        As for :func:`~openunmix.pretrained.load_separator`; ``wiener_win_len`` is 0 for the whole
        track, as in 1.3.0, and by default 300 as in ``umx``: what is scored is what users get.

    Returns
    -------
    TrackScores
        The scores. ``museval.EvalStore().add_track`` accepts their ``df``.

    Raises
    ------
    OpenUnmixError, ValueError
        If the track or the model cannot be read, or the track cannot be scored.
    """
    window = WIENER_WIN_LEN if wiener_win_len is None else wiener_win_len or None
    system = System(
        resolve_model(model_str_or_path, targets),
        targets=tuple(targets),
        niter=niter,
        wiener_win_len=window,
        residual=residual,
        aggregate=aggregate_dict,
        device=str(device),
        filterbank=filterbank,
    )
    audio = track.read() if isinstance(track, Track) else _from_musdb(track)
    own = audio.track
    file = None if eval_dir is None else score_file(Path(eval_dir), own)
    return score_track(Estimator(system), audio, file, Path(output_dir) if output_dir else None)


def _from_musdb(track: Any) -> TrackAudio:
    """Convert a track of the package musdb, whose audio is (samples, channels) in numpy."""
    signals = {"": track.audio} | {name: source.audio for name, source in track.sources.items()}
    waveforms = {name: torch.as_tensor(audio.T).float() for name, audio in signals.items()}
    # Names become paths, so that only their last part is used.
    own = Track(Path(track.name).name, Path(track.subset or "").name)
    return TrackAudio(own, round(track.rate), waveforms.pop(""), waveforms)
