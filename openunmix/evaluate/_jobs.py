"""Tracks that are scored one after the other, in this process or in several."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from openunmix._signals import Stopped, stopping
from openunmix.audio import AudioWriter
from openunmix.data.finder import respelled
from openunmix.data.tracks import Track, TrackAudio
from openunmix.errors import AudioFileError, OpenUnmixError
from openunmix.evaluate.earlier import file_hashes, input_hashes
from openunmix.evaluate.scores import TrackScores, score_estimates
from openunmix.evaluate.system import Estimator, System, references_of

# Failures of one track that do not stop the others; RuntimeError is torch's.
_FAILURES = (OpenUnmixError, ValueError, OSError, RuntimeError, MemoryError)

_KILLED = "its process was killed, as happens when memory runs out"


class Job(NamedTuple):
    """A track to score, the file of its scores, and the folder of all estimates."""

    track: Track
    file: Path
    output_dir: Path | None


def run_jobs(
    system: System, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[str, TrackScores | str]]:
    """Score tracks; yield the name of each, and its scores or the reason of its failure."""
    if workers == 1 or len(jobs) < 2:
        estimator = Estimator(system)
        for job in jobs:
            yield job.track.name, _attempt(estimator, job)
        return
    # The jobs of a process that was killed, mostly for lack of memory, are repeated in half as
    # many processes, which leaves each more memory, and at last one by one.
    while jobs and workers > 1:
        killed = []
        for job, result in _in_processes(system, jobs, workers):
            if result is None:
                killed.append(job)
            else:
                yield job.track.name, result
        jobs, workers = killed, workers // 2
    for job in jobs:
        for _, result in _in_processes(system, [job], 1):
            yield job.track.name, result or _KILLED


def _in_processes(
    system: System, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, TrackScores | str | None]]:
    """Score tracks in parallel; yield None for those lost with a process that was killed."""
    workers = min(workers, len(jobs))
    threads = max(1, torch.get_num_threads() // workers)
    # A forked process would inherit locks of thread pools that do not exist in it.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (system, threads))
    running = {pool.submit(_attempt_in_worker, job): job for job in jobs}
    try:
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except BrokenProcessPool:
                yield running[future], None
    except KeyboardInterrupt:
        for process in active_children():
            process.terminate()
        raise
    finally:  # after an interrupt, no queued job is started
        pool.shutdown(cancel_futures=True)


_WORKER: list[Estimator] = []  # the estimator of a worker process


def _start_worker(system: System, threads: int) -> None:
    """Prepare a worker process, which signals end at once, without its queued jobs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(threads)
    _WORKER[:] = [Estimator(system)]


def _attempt_in_worker(job: Job) -> TrackScores | str:
    """Score a track in a worker process; a signal ends it when partial files are removed."""
    try:
        with stopping():
            return _attempt(_WORKER[0], job)
    except Stopped as signalled:
        os._exit(128 + signalled.number)


def _attempt(estimator: Estimator, job: Job) -> TrackScores | str:
    """Score a track, or return the reason why that failed."""
    try:
        return score_track(estimator, job.track.read(), job.file, job.output_dir)
    except _FAILURES as error:
        return str(error) or type(error).__name__


def score_track(
    estimator: Estimator, audio: TrackAudio, file: Path | None, output_dir: Path | None
) -> TrackScores:
    """Score a decoded track; write scores and estimates, where given a file and a folder."""
    track, system = audio.track, estimator.system
    audio = replace(audio, sources=respelled(audio.sources, system.targets))
    missing = [target for target in system.targets if target not in audio.sources]
    if missing:
        raise AudioFileError(
            f"the stem of {' and '.join(missing)} is missing; there are "
            f"{', '.join(audio.sources) or 'none'}"
        )
    files = input_hashes(track, system)
    estimates = estimator.estimates(audio)
    if output_dir is not None:
        folder = output_dir / track.subset / track.name
        files["outputs"] = file_hashes(_write(folder, estimates, audio.sample_rate))
    references = references_of(audio.sources, system)
    scores = score_estimates(references, estimates, audio.sample_rate)
    scores.name, scores.subset = track.name, track.subset
    scores.settings, scores.files = system.settings, files
    if file is not None:
        scores.save(file)
    return scores


def _write(folder: Path, estimates: Mapping[str, Tensor], sample_rate: int) -> dict[str, Path]:
    """Write estimates (channels, samples) as 32-bit float files; return these by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.wav" for name in estimates}
    for name, estimate in estimates.items():
        with AudioWriter(files[name], sample_rate, len(estimate), "32f") as writer:
            writer.write(estimate)
    return files
