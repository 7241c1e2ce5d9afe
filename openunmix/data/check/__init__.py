"""Check of a dataset: reads all of it and reports what is wrong with it.

Files are read in blocks, the stems of a track side by side, in constant memory.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from openunmix.audio import AudioSource
from openunmix.data.check.duplicates import find_duplicates
from openunmix.data.check.inventory import inventory
from openunmix.data.check.measure import Measure, measure_together
from openunmix.data.check.report import Issue, Report, SourceSummary
from openunmix.data.tracks import Track
from openunmix.errors import AudioFileError

__all__ = ["check_dataset"]

_SILENT = -60.0  # dB, peak level below which a file is silent
_CLIPPED = 1e-4  # share of samples
_OFFSET = 0.01  # of full scale
_RESIDUAL, _WRONG_RESIDUAL = -25.0, -6.0  # dB relative to the mixture
_LENGTHS = 0.1  # seconds, allowed difference within a track


class _Analysed(NamedTuple):
    """A stream that was read, and its measure."""

    split: str
    source: str
    track: Track
    measure: Measure


def check_dataset(
    args: argparse.Namespace, progress: Callable[[int, int], object] | None = None
) -> Report:
    """Read a dataset and report its content and its issues.

    Parameters
    ----------
    args : argparse.Namespace
        ``dataset``, ``root``, ``target``, ``seq_dur``, the options of
        :func:`~openunmix.data.load_datasets`, and optionally ``sample_rate``. The dataset
        ``"stems"`` has folders of stems in any format.
    progress : callable, optional
        Called with the number of tracks read and the total number.

    Returns
    -------
    Report
        Summary and issues; damaged files are issues, not exceptions.

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
    issues += find_duplicates(analysed)
    return Report(
        args.dataset,
        "" if args.dataset == "synthetic" else str(args.root or "MUSDB18"),
        _rate(args),
        _summaries(analysed),
        tuple(sorted(issues, key=lambda found: found.severity)),
    )


_ADVICE = {
    "missing": "create it, or change --root and the options of the dataset",
    "missing-stem": "the track is skipped; to use it, add the file, or a silent one",
    "unreadable": "fetch or export the file again, or move its track elsewhere",
    "silent": "remove or replace the file; nothing can be learnt from it",
    "quiet-source": "add files in which the source is not silent",
    "mixture-as-stem": "move it out of the folder, or choose another --ext",
    "clipped": "use an unclipped version if there is one",
    "offset": "apply a high-pass filter at 20 Hz",
    "length": "all are cut to the shortest; check that they start at the same time",
    "rate": "no action needed; it is converted once, which takes disk space",
    "rates": "export all stems of a track at one sample rate",
    "channels": "mono is duplicated, more than two channels are downmixed; check the files",
    "short": "it is skipped; shorten --seq-dur to use it",
    "residual": "look for a missing stem, or one of another mix or with an offset in time",
}


def _rate(args: argparse.Namespace) -> int:
    """Sample rate of training in Hz."""
    return round(getattr(args, "sample_rate", 44100))


def _check_track(
    args: argparse.Namespace, split: str, track: Track, analysed: list[_Analysed]
) -> Iterator[Issue]:
    """Read a track; streams that can be read are added to ``analysed``."""
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
            analysed.append(_Analysed(split, source, track, measure))
            yield from _check_stream(args, stream, measure)
    good = [measure for measure in measures if isinstance(measure, Measure)]
    yield from _check_lengths(track, good)
    complete = not track.missing and len(good) == len(measures)
    if residual is not None and track.mixture and complete and args.dataset != "aligned":
        yield from _check_residual(args, track.mixture, residual)


def _check_stream(
    args: argparse.Namespace, stream: AudioSource, measure: Measure
) -> Iterator[Issue]:
    """Check a single stream."""
    if measure.non_silent == 0:
        peak = 20 * math.log10(measure.peak + 1e-20)
        found = "it is silent" if measure.peak == 0 else f"its peak is at {peak:.0f} dB"
        yield _warning("silent", stream, f"{found}; it never exceeds {_SILENT:.0f} dB")
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
        found = f"its duration is {measure.seconds:.2f} s, that of an excerpt {_needed(args):g} s"
        yield _warning("short", stream, found)


def _needed(args: argparse.Namespace) -> float:
    """Duration of an excerpt in seconds."""
    return max(getattr(args, "seq_dur", 0) or 0, 0)


def _check_lengths(track: Track, measures: list[Measure]) -> Iterator[Issue]:
    """Check that the stems of a track have one length and sample rate."""
    if len(measures) < 2:
        return
    seconds = [measure.seconds for measure in measures]
    if max(seconds) - min(seconds) > _LENGTHS:
        found = f"the durations of its files are {min(seconds):.2f} s to {max(seconds):.2f} s"
        yield _warning("length", track.path, found)
    rates = sorted({measure.sample_rate for measure in measures})
    if len(rates) > 1:
        found = f"its files are at {', '.join(map(str, rates))} Hz"
        yield _warning("rates", track.path, found)


def _check_residual(
    args: argparse.Namespace, mixture: AudioSource, residual: float
) -> Iterator[Issue]:
    """Check the level of the residual, mixture minus stems."""
    level = 10 * math.log10(residual + 1e-20)
    if level <= _RESIDUAL:
        return
    found = f"it differs from the sum of its stems by {level:.1f} dB relative to itself"
    # Only MUSDB18 uses the file; other datasets sum the stems.
    wrong = level > _WRONG_RESIDUAL and args.dataset == "musdb"
    yield (_error if wrong else _warning)("residual", mixture, found)


def _check_whole(
    args: argparse.Namespace, analysed: Iterable[_Analysed], splits: set[str]
) -> Iterator[Issue]:
    """Check the files of a split as a whole."""
    groups = _by_source(analysed)
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


def _by_source(analysed: Iterable[_Analysed]) -> dict[tuple[str, str], list[Measure]]:
    """Group measures by split and source."""
    groups = defaultdict(list)
    for stream in analysed:
        groups[stream.split, stream.source].append(stream.measure)
    return groups


def _summaries(analysed: Iterable[_Analysed]) -> tuple[SourceSummary, ...]:
    """Summarise every source of every split."""
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
        for (split, source), measures in _by_source(analysed).items()
        for seconds in [sum(measure.seconds for measure in measures)]
    )


def _warning(kind: str, place: object, found: str) -> Issue:
    """Return an issue that does not rule out training."""
    return Issue("warning", kind, str(place), found, _ADVICE[kind])


def _error(kind: str, place: object, found: str) -> Issue:
    """Return an issue that rules out training."""
    return Issue("error", kind, str(place), found, _ADVICE[kind])
