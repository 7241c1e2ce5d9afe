"""Scores of separated music: of models, of what other programs have written, and of oracles.

``umx-evaluate`` and ``python -m openunmix.evaluate`` are the commands. From Python,
:func:`evaluate_tracks` scores a dataset and :func:`separate_and_evaluate` a single track.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openunmix.audio import AudioWriter
from openunmix.data.tracks import Track, TrackAudio, find_tracks
from openunmix.errors import AudioFileError, OpenUnmixError
from openunmix.evaluate.scores import TrackScores, median_over_tracks, score_estimates, write_tables
from openunmix.evaluate.system import WIENER_WIN_LEN, Estimator, System, references_of
from openunmix.evaluate.tracks import find_pairs
from openunmix.pretrained import resolve_model

__all__ = [
    "Evaluation",
    "System",
    "Track",
    "TrackScores",
    "evaluate_tracks",
    "find_pairs",
    "find_tracks",
    "median_over_tracks",
    "score_estimates",
    "separate_and_evaluate",
    "write_tables",
]

# What may go wrong with one track and leaves the others alone; RuntimeError is torch's.
_FAILURES = (OpenUnmixError, ValueError, OSError, RuntimeError, MemoryError)

Progress = Callable[[str, "TrackScores | str"], None]


@dataclass
class Evaluation:
    """What became of the tracks.

    Attributes
    ----------
    scores : list of TrackScores
        Those that could be scored, in the order given.
    failures : dict of str to str
        What was wrong with the others, by name.
    """

    scores: list[TrackScores] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


class _Job(NamedTuple):
    """One track to score, and where to write."""

    track: Track
    file: Path | None
    output_dir: Path | None


def evaluate_tracks(
    tracks: Sequence[Track],
    system: System,
    eval_dir: Path,
    output_dir: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a system on tracks.

    A track that has been scored with the same settings is not scored again, so that a run can be
    interrupted. One that cannot be scored does not stop the others.

    Parameters
    ----------
    tracks : sequence of Track
        See :func:`find_tracks` and :func:`find_pairs`.
    system : System
        Where estimates come from. Those in files are expected in ``subset/track`` or ``track``
        below the system's folder, a file per target, with the tracks' sample rate and length.
    eval_dir : Path
        Where scores go: ``subset/track.json``, which museval reads, and two tables.
    output_dir : Path, optional
        Where to write the estimates, as ``subset/track/target.wav``; they are not kept otherwise.
    workers : int > 0
        Processes; each may need 2.5 GB for a track of five minutes.
    progress : callable, optional
        Called with the name of each track that is finished, and its scores or what went wrong.

    Returns
    -------
    Evaluation
        The scores and failures.

    Raises
    ------
    ValueError
        If ``eval_dir`` holds scores that were made with other settings, or are damaged.
    """
    finished: dict[str, TrackScores | str] = {}
    waiting = []
    for track in tracks:
        file = eval_dir / track.subset / f"{track.name}.json"
        if file.exists():
            finished[track.name] = _finished(file, system)
        else:
            waiting.append(_Job(track, file, output_dir))
    for name, result in _run(system, waiting, workers):
        finished[name] = result
        if progress:
            progress(name, result)
    evaluation = Evaluation()
    for track in tracks:
        result = finished[track.name]
        if isinstance(result, str):
            evaluation.failures[track.name] = result
        else:
            evaluation.scores.append(result)
    write_tables(eval_dir, evaluation.scores)
    return evaluation


def _finished(file: Path, system: System) -> TrackScores:
    """Load the scores of an earlier run; raise ValueError if it was another evaluation."""
    scores = TrackScores.load(file)
    if scores.settings != system.settings:
        differing = {
            key: scores.settings.get(key)
            for key in {**scores.settings, **system.settings}
            if scores.settings.get(key) != system.settings.get(key)
        }
        raise ValueError(
            f"{file} holds scores of another evaluation, with {differing}; choose another folder, "
            "or remove it"
        )
    return scores


def _run(
    system: System, jobs: Sequence[_Job], workers: int
) -> Iterator[tuple[str, TrackScores | str]]:
    """Score tracks, in this process or in several; yield what becomes of each."""
    if workers == 1 or len(jobs) < 2:
        estimator = Estimator(system)
        for job in jobs:
            yield job.track.name, _attempt(estimator, job)
        return
    while jobs and workers > 1:
        killed = []
        for job, result in _in_processes(system, jobs, workers):
            if result is None:
                killed.append(job)
            else:
                yield job.track.name, result
        jobs, workers = killed, workers // 2  # each has more memory then
    for job in jobs:
        for _, result in _in_processes(system, [job], 1):
            yield (
                job.track.name,
                result or "its process was killed, as happens when memory runs out",
            )


def _in_processes(
    system: System, jobs: Sequence[_Job], workers: int
) -> Iterator[tuple[_Job, TrackScores | str | None]]:
    """Score tracks in processes; yield None for those that one which was killed took with it."""
    workers = min(workers, len(jobs))
    threads = max(1, torch.get_num_threads() // workers)
    # Forked processes would share locks of thread pools that are not there.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (system, threads))
    running = {pool.submit(_attempt_in_worker, job): job for job in jobs}
    try:
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except BrokenProcessPool:
                yield running[future], None
    finally:  # when interrupted, nothing new is begun
        pool.shutdown(cancel_futures=True)


# The estimator of a worker process.
_WORKER: list[Estimator] = []


def _start_worker(system: System, threads: int) -> None:
    """Prepare a worker process; Ctrl-C ends it at once, without going on with what is queued."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(threads)
    _WORKER[:] = [Estimator(system)]


def _attempt_in_worker(job: _Job) -> TrackScores | str:
    """Score a track in a worker process."""
    return _attempt(_WORKER[0], job)


def _attempt(estimator: Estimator, job: _Job) -> TrackScores | str:
    """Score a track; return what went wrong if it does."""
    try:
        return _score(estimator, job.track.read(), job.file, job.output_dir)
    except _FAILURES as error:
        return str(error) or type(error).__name__


def _score(
    estimator: Estimator, audio: TrackAudio, file: Path | None, output_dir: Path | None
) -> TrackScores:
    """Score a track, and write what is to be written."""
    track, system = audio.track, estimator.system
    missing = [target for target in system.targets if target not in audio.sources]
    if missing:
        raise AudioFileError(
            f"the stem of {' and '.join(missing)} is missing; there are "
            f"{', '.join(audio.sources) or 'none'}"
        )
    estimates = estimator.estimates(audio)
    if output_dir is not None:
        _write(output_dir / track.subset / track.name, estimates, audio.sample_rate)
    scores = dataclasses.replace(
        score_estimates(references_of(audio.sources, system), estimates, audio.sample_rate),
        name=track.name,
        subset=track.subset,
        settings=system.settings,
    )
    if file is not None:
        scores.save(file)
    return scores


def _write(folder: Path, estimates: Mapping[str, Tensor], sample_rate: int) -> None:
    """Write estimates as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, estimate in estimates.items():
        with AudioWriter(folder / f"{name}.wav", sample_rate, len(estimate), "32f") as writer:
            writer.write(estimate)


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
        A track of the ``musdb`` package, or one of :func:`find_tracks`.
    targets : sequence of str
        The sources to estimate.
    model_str_or_path : str or Path
        Name of a published model, or a model folder.
    niter : int
        Iterations of expectation maximization.
    output_dir : str or Path, optional
        Where to write the estimates, as ``subset/track/target.wav``.
    eval_dir : str or Path, optional
        Where to write the scores, as ``subset/track.json``.
    residual : bool
        Whether to estimate also what the targets leave of the mixture.
    mus : Any
        Not used; 1.3.0 wrote the estimates with this ``musdb.DB``.
    aggregate_dict : mapping of str to sequence of str, optional
        Names and the estimates to sum for each, in place of the targets.
    device : str or torch.device
        Where to compute.
    wiener_win_len : int, optional
        Frames that are filtered together; those of the ``umx`` command, 300, if not given, so
        that what is scored is what users get. 1.3.0 took the whole track. 0 does that.
    filterbank : str
        As for :class:`~openunmix.model.Separator`.

    Returns
    -------
    TrackScores
        The scores. ``museval.EvalStore().add_track(scores.df)`` takes them.

    Raises
    ------
    OpenUnmixError, ValueError
        If the track or the model cannot be read, or the track not be scored.
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
    file = None if eval_dir is None else Path(eval_dir) / own.subset / f"{own.name}.json"
    return _score(Estimator(system), audio, file, Path(output_dir) if output_dir else None)


def _from_musdb(track: Any) -> TrackAudio:
    """Take over a track of the musdb package, whose audio is (samples, channels) in numpy."""
    waveforms = {
        name: torch.as_tensor(audio.T, dtype=torch.float32)
        for name, audio in [
            ("mixture", track.audio),
            *((name, source.audio) for name, source in track.sources.items()),
        ]
    }
    mixture = waveforms.pop("mixture")
    # Names become paths, so only their last part is taken.
    own = Track(Path(track.name).name, Path(track.subset or "").name)
    return TrackAudio(own, round(track.rate), mixture, waveforms)
