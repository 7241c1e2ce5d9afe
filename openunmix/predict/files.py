"""From an audio file to files of its estimates, in memory that does not grow with its length.

::

    file -> aligned blocks -> residual, sums -> spool (float WAV) -> gain, encode -> files

Everything is spooled as float WAV first, because only at the end is it known whether a peak would
clip in an integer format. Outputs take their names when all of them are complete.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openunmix._files import replace_all, workspace
from openunmix.audio import (
    OUTPUT_FORMATS,
    STEM_MP4,
    AudioReader,
    AudioSource,
    AudioWriter,
    write_stem_mp4,
)
from openunmix.audio.channels import default_layout
from openunmix.audio.encoders import clipping_gain, supported_sample_rate
from openunmix.audio.parallel import Stoppable, encode_in_parallel
from openunmix.errors import AudioFileError
from openunmix.model import Separator
from openunmix.predict.aggregation import aggregate, resolve_aggregation
from openunmix.predict.file_stream import FileStream, open_stream, separate_stream
from openunmix.predict.marks import forget_outputs
from openunmix.predict.stream import StreamConfig

logger = logging.getLogger(__name__)

# The mixture among what is spooled; no output can have this name.
_MIXTURE = ""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class FileOptions:
    """Which outputs to write."""

    #: A key of `openunmix.audio.OUTPUT_FORMATS`, or `openunmix.audio.STEM_MP4`.
    extension: str = ".wav"
    #: ``"16"``, ``"24"`` or ``"32f"``; the default of the format if None.
    depth: str | None = None
    #: Whether to write at the model's sample rate instead of the input's.
    model_rate: bool = False
    #: Name of the residual, the input minus all estimates; not written if None.
    residual: str | None = None
    #: Names and the estimates to sum for each, in place of the estimates.
    aggregate: Mapping[str, Sequence[str]] | None = None
    #: Whether a player is made of the outputs.
    player: bool = False

    def names(self, targets: Sequence[str]) -> dict[str, list[str]]:
        """Names of the outputs and the estimates summed for each; ValueError if impossible."""
        aggregation = resolve_aggregation(targets, self.residual, self.aggregate)
        for name in aggregation:
            if not _is_file_name(name):
                raise ValueError(f"{name!r} cannot be a file name; choose another name")
        if len({name.casefold() for name in aggregation}) < len(aggregation):
            raise ValueError(
                f"{list(aggregation)} differ only in case, which not every disk tells apart"
            )
        return aggregation

    @property
    def is_float_wav(self) -> bool:
        """Whether outputs have the format of the spool."""
        return self.extension == ".wav" and self.depth in (None, "32f")


def _is_file_name(name: str) -> bool:
    """Whether every system accepts a name for a file, with room for an extension."""
    reserved = name.strip(".") == "" or not set(name).isdisjoint('/\\:*?"<>|')
    return not reserved and name.isprintable() and len(name.encode()) <= 200


@dataclass(frozen=True)
class FileResult:
    """Files that were written, and what all of them have in common."""

    outputs: dict[str, Path]
    sample_rate: int  #: Hz; not the rate asked for if the format does not support that
    channels: int
    duration: float  #: seconds
    peak: float  #: largest absolute value of all outputs before the gain; 1 is full scale
    gain: float  #: factor applied to all outputs; 1 unless the format would have clipped


def output_paths(folder: Path, names: Sequence[str], extension: str) -> dict[str, Path]:
    """Files written for an input: one for each name, or a ``.stem.mp4`` for all."""
    if extension == STEM_MP4:
        return {name: folder / f"{folder.name}{extension}" for name in names}
    return {name: folder / f"{name}{extension}" for name in names}


def separate_file(
    source: Path | AudioSource,
    folder: Path,
    separator: Separator,
    options: FileOptions | None = None,
    config: StreamConfig | None = None,
    progress: Progress | None = None,
) -> FileResult:
    """Separate an audio file, or an excerpt of it, into files.

    ``folder`` is created when the outputs are complete. ``progress`` is called repeatedly with the
    seconds of audio that have been separated. Raises AudioFileError if the input cannot be read or
    an output not be written, and then leaves nothing behind; ValueError for impossible options.
    """
    source = source if isinstance(source, AudioSource) else AudioSource(source)
    options = options or FileOptions()
    aggregation = options.names(list(separator.target_models))
    outputs = output_paths(folder, list(aggregation), options.extension)
    with _prepared(source, folder, separator, options, outputs) as (stream, work):
        spool = _separate(stream, separator, options, config, aggregation, work, progress)
        gain = clipping_gain(spool.peak, options.extension, options.depth)
        finished = _encode(spool, source.path, options, gain, work)
        folder.mkdir(parents=True, exist_ok=True)
        forget_outputs(folder, [path.name for path in outputs.values()])
        replace_all({outputs[name]: finished[name] for name in outputs}, work)
    in_one_file = options.extension == STEM_MP4
    return FileResult(
        outputs,
        supported_sample_rate(".m4a" if in_one_file else options.extension, spool.sample_rate),
        channels=2 if in_one_file else spool.channels,
        duration=spool.samples / spool.sample_rate,
        peak=spool.peak,
        gain=gain,
    )


def check_file(
    source: AudioSource, folder: Path, separator: Separator, options: FileOptions
) -> float:
    """Raise what `separate_file` would before separating; return seconds, 0 if unknown."""
    outputs = output_paths(
        folder, list(options.names(list(separator.target_models))), options.extension
    )
    with _prepared(source, folder, separator, options, outputs) as (stream, _):
        return (stream.length or 0) / stream.sample_rate


@contextmanager
def _prepared(
    source: AudioSource,
    folder: Path,
    separator: Separator,
    options: FileOptions,
    outputs: Mapping[str, Path],
) -> Iterator[tuple[FileStream, Path]]:
    """Open the input and a workspace; AudioFileError if an output can be known to be impossible."""
    channels = separator.nb_channels
    if options.extension == STEM_MP4:
        channels = max(channels, 2)  # its streams are stereo, also those of mono networks
    with (
        open_stream(source, channels) as stream,
        workspace(folder) as work,
        _naming(folder, work),
    ):
        _check_outputs(source.path, outputs)
        _check_channels(stream, options)
        _check_length(stream, options)
        for path in outputs.values():
            trial = work / path.name
            trial.touch()  # raises for a name that is too long
            trial.unlink(missing_ok=True)
        yield stream, work


def _check_outputs(source: Path, outputs: Mapping[str, Path]) -> None:
    """Raise AudioFileError for an output that is the input, a folder, a device or read-only."""
    for path in outputs.values():
        if os.path.realpath(path) == os.path.realpath(source):
            raise AudioFileError(f"{str(source)!r} would be overwritten; choose another folder")
        if not path.exists():
            continue
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "device"
            raise AudioFileError(f"output {str(path)!r} is a {kind}; rename or remove it")
        if not mode & 0o222 or not os.access(path, os.W_OK):
            raise AudioFileError(
                f"output {str(path)!r} is read-only; make it writable or remove it"
            )


def _check_channels(stream: FileStream, options: FileOptions) -> None:
    """Warn of a downmix; raise AudioFileError for more channels than the format supports."""
    path = stream.source.path
    if stream.channels < stream.file_channels:
        logger.warning(
            "%s: %d channels mixed down to stereo (ITU-R BS.775)", path, stream.file_channels
        )
    elif options.extension != STEM_MP4:
        most = OUTPUT_FORMATS[options.extension].max_channels
        if stream.channels > most:
            raise AudioFileError(
                f"{str(path)!r} has {stream.channels} channels and {options.extension} takes "
                f"{most}; write .wav"
            )
    if options.player and stream.channels > 2 and not default_layout(stream.channels):
        raise AudioFileError(
            f"{str(path)!r} has {stream.channels} channels, which a player cannot mix to two; "
            "leave --player out"
        )


def _check_length(stream: FileStream, options: FileOptions) -> None:
    """Raise AudioFileError for more samples than the format counts, before any is separated."""
    entry = OUTPUT_FORMATS.get(options.extension)
    if entry and (stream.length or 0) > entry.max_samples:
        raise AudioFileError(
            f"{str(stream.source.path)!r} has {stream.length} samples and {options.extension} "
            f"holds {entry.max_samples}; write .wav"
        )


@contextmanager
def _naming(folder: Path, work: Path) -> Iterator[None]:
    """Name the folder of the outputs in errors, not a temporary file in it."""
    try:
        yield
    except AudioFileError as error:
        # Names of temporary files: those of targets, with an extension.
        inside = re.escape(str(work)) + r"(?:[/\\][\w .-]*\.\w+)?"
        named = re.sub(inside, lambda _: str(folder), str(error))
        if named == str(error):
            raise
        raise AudioFileError(named) from error


@dataclass
class _Spool:
    """Float WAV files by name, with their length in samples and largest absolute value."""

    files: dict[str, Path]
    sample_rate: int
    channels: int
    samples: int = 0
    peak: float = 0.0


def _separate(
    stream: FileStream,
    separator: Separator,
    options: FileOptions,
    config: StreamConfig | None,
    aggregation: dict[str, list[str]],
    workspace: Path,
    progress: Progress | None,
) -> _Spool:
    """Separate into float WAV files in the workspace."""
    rate = round(float(separator.sample_rate)) if options.model_rate else stream.sample_rate
    names = [*aggregation, *([_MIXTURE] if options.extension == STEM_MP4 else [])]
    files = {name: workspace / f"{number}.wav" for number, name in enumerate(names)}
    spool = _Spool(files, rate, stream.channels)
    expected = stream.length and round(stream.length * rate / stream.sample_rate)
    _check_space(workspace, 4 * len(files) * spool.channels * (expected or 0))
    tags_from = stream.source.path if options.is_float_wav else None
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                AudioWriter(path, rate, spool.channels, "32f", expected, tags_from)
            )
            for name, path in files.items()
        }
        for mixture, estimates in separate_stream(
            separator, stream, stream.channels, stream.sample_rate, config, options.model_rate
        ):
            named = dict(zip(separator.target_models, estimates, strict=True))
            outputs = aggregate(mixture, named, aggregation, options.residual)
            for name, writer in writers.items():
                block = outputs.get(name, mixture)
                writer.write(block)
                spool.peak = max(spool.peak, _peak(block, stream.source.path))
            spool.samples += mixture.shape[-1]
            if progress:
                progress(spool.samples / rate)
    return spool


def _check_space(folder: Path, needed: int) -> None:
    """Raise OSError if a disk has less than the bytes that are needed."""
    total, _, free = shutil.disk_usage(folder)
    if total and free < needed:  # some network disks do not know their size
        reason = f"{os.strerror(errno.ENOSPC)}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} free"
        raise OSError(errno.ENOSPC, reason)


def _peak(block: np.ndarray, path: Path) -> float:
    """Largest absolute value of a block; AudioFileError if a value is not finite."""
    peak = float(np.abs(block).max(initial=0))
    if not math.isfinite(peak):
        raise AudioFileError(
            f"{str(path)!r} is too loud to compute with: estimates are not finite; turn it "
            "down to values within -1 and 1"
        )
    return peak


def _encode(
    spool: _Spool, source: Path, options: FileOptions, gain: float, workspace: Path
) -> dict[str, Path]:
    """Encode the spooled files in the format asked for; return temporary files by name."""
    if options.is_float_wav:
        return spool.files
    if options.extension == STEM_MP4:
        path = workspace / f"all{STEM_MP4}"
        stems = dict(spool.files)
        mixture = stems.pop(_MIXTURE)
        write_stem_mp4(path, mixture, stems, tags_from=source, gain=gain)
        return dict.fromkeys(stems, path)
    outputs = {
        name: workspace / f"out-{path.stem}{options.extension}"
        for name, path in spool.files.items()
    }

    def encode(name: str, stoppable: Stoppable) -> None:
        """Encode one spooled file, and free its space."""
        with (
            AudioReader(spool.files[name]) as reader,
            AudioWriter(
                outputs[name],
                spool.sample_rate,
                spool.channels,
                options.depth,
                expected_samples=spool.samples,
                tags_from=source,
            ) as writer,
        ):
            for block in stoppable(reader):
                writer.write(block * np.float32(gain))
        spool.files[name].unlink()

    encode_in_parallel(encode, list(outputs))
    return outputs
