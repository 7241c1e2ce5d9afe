"""Check of a dataset: reads all of it and reports what is wrong with it.

``check_dataset(args, progress=None) -> Report``: ``args`` are the options of a dataset as for
:func:`openunmix.data.make_datasets`, ``report.errors`` is what not to train on, and
``report.text()`` is what to show. Files are read in blocks, stems of a track side by side, so that
memory does not grow with the data.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from openunmix.audio import AudioSource
from openunmix.data.check.duplicates import find_duplicates
from openunmix.data.check.inventory import inventory
from openunmix.data.check.measure import Measure, measure_together
from openunmix.data.check.report import Issue, Report, SourceSummary
from openunmix.data.tracks import Track
from openunmix.errors import AudioFileError

__all__ = ["Issue", "Report", "SourceSummary", "check_dataset"]

_SILENT = -60.0  # dB: what is quieter all the time is noise
_CLIPPED = 1e-4  # share of samples
_OFFSET = 0.01  # of full scale
_RESIDUAL, _WRONG_RESIDUAL = -25.0, -6.0  # dB of the mixture minus its stems
_LENGTHS = 0.1  # seconds by which stems of a track may differ


@dataclass(frozen=True)
class _Analysed:
    """A stream that was read, and its measure."""

    split: str
    source: str
    track: Track
    stream: AudioSource
    measure: Measure


def check_dataset(
    args: argparse.Namespace, progress: Callable[[int, int], object] | None = None
) -> Report:
    """Read a dataset and report its content and its issues.

    Parameters
    ----------
    args : argparse.Namespace
        ``dataset``, ``root``, ``target``, ``seq_dur``, the options of
        :func:`~openunmix.data.add_dataset_options`, and optionally ``sample_rate``. The dataset
        ``"stems"`` has folders of stems that are named after ``args.targets``.
    progress : callable, optional
        Called with the number of tracks that were read, and of all.

    Returns
    -------
    Report
        What was found. Damaged files are issues, not exceptions.

    Raises
    ------
    ValueError
        If the dataset is unknown or has no root.
    MissingExtraError
        If a package is not installed.
    """
    issues: list[Issue] = []
    tracks: list[tuple[str, Track]] = []
    for split in ("train", "valid"):
        try:
            tracks += [(split, track) for track in inventory(args, split)]
        except AudioFileError as error:
            place = str(Path(args.root or "MUSDB18", split))
            issues.append(Issue("error", "missing", place, str(error), _ADVICE["missing"]))
    analysed: list[_Analysed] = []
    for count, (split, track) in enumerate(tracks, start=1):
        issues += _check_track(args, split, track, analysed)
        if progress is not None:
            progress(count, len(tracks))
    issues += _check_whole(args, analysed, {split for split, _ in tracks})
    issues += find_duplicates([(h.split, h.source, h.track, h.measure) for h in analysed])
    return Report(
        args.dataset,
        "" if args.dataset == "synthetic" else str(args.root or "MUSDB18"),
        _rate(args),
        _summaries(analysed),
        tuple(sorted(issues, key=lambda found: found.severity)),
    )


_ADVICE = {
    "missing": "create it, or change --root and the options of the dataset",
    "missing-stem": "the track is left out; add the file, or a silent one, if it is to be used",
    "unreadable": "fetch or export the file again, or move its track elsewhere",
    "silent": "remove the file, or look for the right one; nothing can be learnt from it",
    "quiet-source": "give files in which the source sounds",
    "mixture-as-stem": "move it out of the folder, or choose another --ext",
    "clipped": "use a version that was not driven into clipping, if there is one",
    "offset": "filter out what is below 20 Hz",
    "length": "what the shortest lasts is used; check that all begin at the same time",
    "rate": "nothing has to be done; it is converted once, which takes room on the disk",
    "rates": "export all stems of a track at one rate",
    "channels": "mono is doubled, more than two are mixed down to two; check that this is meant",
    "short": "it is left out; shorten --seq-dur to use it",
    "residual": "look for a stem that is missing, or that is of another mix or time",
}


def _rate(args: argparse.Namespace) -> int:
    """Sample rate of training in Hz."""
    return round(getattr(args, "sample_rate", 44100))


def _check_track(
    args: argparse.Namespace, split: str, track: Track, analysed: list[_Analysed]
) -> Iterator[Issue]:
    """Read a track; what could be read is added to ``analysed``."""
    if track.missing:
        names = ", ".join(track.missing)
        yield _warning("missing-stem", track.path, f"there is no {names}")
    takes_all = args.dataset == "trackfolder_var"
    if takes_all and track.mixture and track.mixture.path.name.endswith(args.ext):
        found = "the mixture would be taken for one of the stems"
        yield _error("mixture-as-stem", track.mixture, found)
    streams = {**({"mixture": track.mixture} if track.mixture else {}), **track.sources}
    measures, residual = measure_together(list(streams.values()))
    for (source, stream), measure in zip(streams.items(), measures, strict=True):
        if isinstance(measure, AudioFileError):
            yield _error("unreadable", stream, str(measure))
        else:
            analysed.append(_Analysed(split, source, track, stream, measure))
            yield from _check_stream(args, stream, measure)
    good = [measure for measure in measures if isinstance(measure, Measure)]
    yield from _check_lengths(track, good)
    complete = not track.missing and len(good) == len(measures)
    if residual is not None and track.mixture and complete and args.dataset != "aligned":
        yield from _check_residual(args, track.mixture, residual)


def _check_stream(
    args: argparse.Namespace, stream: AudioSource, measure: Measure
) -> Iterator[Issue]:
    """Look at a stream for itself."""
    if measure.non_silent == 0:
        peak = 20 * math.log10(measure.peak + 1e-20)
        found = "it is silent" if measure.peak == 0 else f"its peak is at {peak:.0f} dB"
        yield _warning("silent", stream, f"{found}; no part of it is above {_SILENT:.0f} dB")
    if measure.clipped > _CLIPPED:
        found = f"{100 * measure.clipped:.2g} % of its samples are clipped"
        yield _warning("clipped", stream, found)
    if measure.offset > _OFFSET:
        yield _warning("offset", stream, f"its mean is {measure.offset:.3f} of full scale, not 0")
    if measure.sample_rate != _rate(args):
        found = f"it is at {measure.sample_rate} Hz, training at {_rate(args)} Hz"
        yield _warning("rate", stream, found)
    if measure.channels > 2:
        yield _warning("channels", stream, f"it has {measure.channels} channels")
    if measure.seconds < _needed(args):
        found = f"it lasts {measure.seconds:.2f} s, an excerpt {_needed(args):g} s"
        yield _warning("short", stream, found)


def _needed(args: argparse.Namespace) -> float:
    """Seconds that a file must last."""
    return max(getattr(args, "seq_dur", 0) or 0, 0)


def _check_lengths(track: Track, measures: list[Measure]) -> Iterator[Issue]:
    """Compare the stems of a track."""
    if len(measures) < 2:
        return
    seconds = [measure.seconds for measure in measures]
    if max(seconds) - min(seconds) > _LENGTHS:
        found = f"its files last from {min(seconds):.2f} s to {max(seconds):.2f} s"
        yield _warning("length", track.path, found)
    rates = sorted({measure.sample_rate for measure in measures})
    if len(rates) > 1:
        found = f"its files are at {', '.join(map(str, rates))} Hz"
        yield _warning("rates", track.path, found)


def _check_residual(
    args: argparse.Namespace, mixture: AudioSource, residual: float
) -> Iterator[Issue]:
    """Compare the mixture with the sum of its stems."""
    level = 10 * math.log10(residual + 1e-20)
    if level <= _RESIDUAL:
        return
    found = f"it differs from the sum of its stems by {level:.1f} dB relative to itself"
    # Only for MUSDB18 is the file used; elsewhere the mixture is the sum.
    wrong = level > _WRONG_RESIDUAL and args.dataset == "musdb"
    yield (_error if wrong else _warning)("residual", mixture, found)


def _check_whole(
    args: argparse.Namespace, analysed: Iterable[_Analysed], splits: set[str]
) -> Iterator[Issue]:
    """Look at what the files of a split have in common."""
    groups = defaultdict(list)
    for stream in analysed:
        groups[stream.split, stream.source].append(stream.measure)
    for (split, source), measures in groups.items():
        place = Path(args.root or "MUSDB18", split)
        if not any(measure.non_silent for measure in measures):
            found = f"{source} is silent in all of {len(measures)} files"
            yield _error("quiet-source", place, found)
        if all(measure.seconds < _needed(args) for measure in measures):
            longest = max(measure.seconds for measure in measures)
            found = f"no file of {source} lasts {_needed(args):g} s, the longest {longest:.2f} s"
            yield _error("short", place, found)
        counts = sorted({measure.channels for measure in measures})
        if len(counts) > 1:
            found = f"files of {source} have {' and '.join(map(str, counts))} channels"
            yield _warning("channels", place, found)
    for split in sorted(splits - {split for split, _ in groups}):
        found = "no file can be read"
        yield _error("unreadable", Path(args.root or "MUSDB18", split), found)


def _summaries(analysed: Iterable[_Analysed]) -> tuple[SourceSummary, ...]:
    """Say how much there is of each source."""
    groups = defaultdict(list)
    for stream in analysed:
        groups[stream.split, stream.source].append(stream.measure)
    return tuple(
        SourceSummary(
            split,
            source,
            len(measures),
            sum(measure.seconds for measure in measures),
            sum(measure.non_silent for measure in measures),
            10 * math.log10(sum(m.power * m.seconds for m in measures) / seconds + 1e-20),
            tuple(sorted({measure.sample_rate for measure in measures})),
            tuple(sorted({measure.channels for measure in measures})),
        )
        for (split, source), measures in groups.items()
        for seconds in [sum(measure.seconds for measure in measures)]
    )


def _warning(kind: str, place: object, found: str) -> Issue:
    """Make a issue with which training may go on."""
    return Issue("warning", kind, str(place), found, _ADVICE[kind])


def _error(kind: str, place: object, found: str) -> Issue:
    """Make a issue with which training must not begin."""
    return Issue("error", kind, str(place), found, _ADVICE[kind])
