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
from openunmix.data.excerpts import open_track
from openunmix.data.factory import least_samples, target_name
from openunmix.data.levels import SILENCE, silence_text
from openunmix.data.tracks import Track
from openunmix.errors import AudioFileError

__all__ = ["check_dataset"]

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


def _is_silent(args: argparse.Namespace, measure: Measure) -> bool:
    """Whether training leaves a stem out, or cannot learn from it where it is read as it is."""
    return measure.level <= (SILENCE if args.dataset == "stems" else 0.0)


def check_dataset(
    args: argparse.Namespace, progress: Callable[[int, int], object] | None = None
) -> Report:
    """Read a dataset and report its content and its issues.

    Parameters
    ----------
    args : argparse.Namespace
        ``dataset``, ``root``, ``target``, ``seq_dur``, the options of
        :func:`~openunmix.data.load_datasets`, and optionally ``sample_rate``. The dataset
        ``"stems"`` has folders of stems in any format, ``targets`` and ``mixing``, a
        :class:`~openunmix.data.MixingConfig`.
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
    "skipped": "training skips the track; to use it, mend that, or shorten --seq-dur",
    "unreadable": "training stops at it; fetch or export the file again, or move its track away",
    "left-out": "training leaves the file out; to use it, export it again, louder if it is quiet",
    "silent": "remove or replace the file; little can be learnt from it",
    "unusable": "training cannot start; see the warnings for the reasons",
    "quiet-source": "add files in which the source is not silent",
    "clipped": "use an unclipped version if there is one",
    "offset": "apply a high-pass filter at 20 Hz",
    "length": "all are cut to the shortest; check that they start at the same time",
    "rate": "no action needed; it is converted once, which takes disk space",
    "rates": "export all stems of a track at one sample rate",
    "channels": "mono is duplicated, more than two channels are downmixed; check the files",
    "short": "it is padded with silence; shorten --seq-dur, or join it with others",
    "residual": "look for a missing stem, or one of another mix or with an offset in time",
}


def _rate(args: argparse.Namespace) -> int:
    """Sample rate of training in Hz."""
    return round(getattr(args, "sample_rate", 44100))


def _check_track(
    args: argparse.Namespace, split: str, track: Track, analysed: list[_Analysed]
) -> Iterator[Issue]:
    """Read a track; streams that can be read are added to ``analysed``."""
    is_stems = args.dataset == "stems"
    skipped = None if is_stems else _reason_to_skip(args, split, track)
    if skipped:
        yield _warning("skipped", track.path, skipped)
    streams = {**({"mixture": track.mixture} if track.mixture else {}), **track.sources}
    measures, residual = measure_together(list(streams.values()))
    for (source, stream), measure in zip(streams.items(), measures, strict=True):
        if isinstance(measure, Measure):
            if not skipped:
                analysed.append(_Analysed(split, source, track, measure))
            yield from _check_stream(args, stream, measure)
        elif is_stems:
            yield _warning("left-out", stream, str(measure))
        elif not skipped:
            yield _error("unreadable", stream, str(measure))
    good = [measure for measure in measures if isinstance(measure, Measure)]
    yield from _check_lengths(track, good)
    complete = not track.missing and len(good) == len(measures)
    if residual is not None and track.mixture and complete and args.dataset != "aligned":
        yield from _check_residual(args, track.mixture, residual)


def _reason_to_skip(args: argparse.Namespace, split: str, track: Track) -> str | None:
    """Reason for which training skips a track."""
    with_mixture = args.dataset in ("aligned", "musdb")
    opened = open_track(track, with_mixture, least_samples(args, split), _rate(args))
    return opened if isinstance(opened, str) else None


def _check_stream(
    args: argparse.Namespace, stream: AudioSource, measure: Measure
) -> Iterator[Issue]:
    """Check a single stream."""
    is_stems = args.dataset == "stems"
    if measure.level <= SILENCE:
        kind = "left-out" if is_stems else "silent"
        yield _warning(kind, stream, silence_text(measure.level))
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
    needed = getattr(args, "seq_dur", 0) or 0
    if is_stems and measure.seconds < needed:
        found = f"its duration is {measure.seconds:.2f} s, that of an excerpt {needed:g} s"
        yield _warning("short", stream, found)


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
        if all(_is_silent(args, measure) for measure in measures):
            found = f"{source} is silent in all of {len(measures)} files"
            needed = split == "train" and source in _targets(args)
            yield (_error if needed else _warning)("quiet-source", place, found)
        counts = sorted({measure.channels for measure in measures})
        if len(counts) > 1:
            found = f"files of {source} have {' and '.join(map(str, counts))} channels"
            yield _warning("channels", place, found)
    for split in sorted(splits):
        absent = [name for name in _required(args, split) if (split, name) not in groups]
        if absent or split not in {of for of, _ in groups}:
            found = f"no file of {', '.join(absent)} can be used" if absent else "no track is left"
            yield _error("unusable", Path(args.root or "MUSDB18", split), found)


def _targets(args: argparse.Namespace) -> list[str]:
    """Return the sources that are targets."""
    return list(getattr(args, "targets", ())) if args.dataset == "stems" else [target_name(args)]


def _required(args: argparse.Namespace, split: str) -> list[str]:
    """Return what training cannot start without, where tracks need not have all sources."""
    if args.dataset == "sourcefolder":
        return [args.target_dir, *args.interferer_dirs]
    return _targets(args) if args.dataset == "stems" and split == "train" else []


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
