"""From an audio file to files of its sources, as streams: no length of audio is held in memory.

::

    file -> decode -> downmix -> resample -> engine -> resample -> spool (float) -> encode -> files

The estimates are spooled as float WAV first. Only when all are there is it known whether a peak
would clip in an integer format, and only then do the files get their names.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openunmix._files import workspace
from openunmix.audio import (
    STEM_MP4,
    AudioReader,
    AudioSource,
    AudioWriter,
    clipping_gain,
    output_format,
    supported_sample_rate,
    write_stem_mp4,
)
from openunmix.errors import AudioFileError
from openunmix.model import Separator
from openunmix.predict._file_stream import Mixture, sounds
from openunmix.predict.stream import StreamConfig

__all__ = ["FileOptions", "FileResult", "output_paths", "separate_file"]

logger = logging.getLogger(__name__)

# The mixture among what is spooled; no output can have this name.
_MIXTURE = ""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class FileOptions:
    """What to write.

    Attributes
    ----------
    extension : str
        With its dot; one of `openunmix.audio.OUTPUT_FORMATS`, or `openunmix.audio.STEM_MP4`.
    depth : str, optional
        ``"16"``, ``"24"`` or ``"32f"``; the format's own default if not given.
    model_rate : bool
        Write at the model's sample rate, and not at the input's.
    residual : str, optional
        Name for what the estimates leave of the input; not written if not given.
    aggregate : mapping of str to sequence of str, optional
        Names and the estimates to sum for each, in place of the estimates.
    start, duration : float
        The part of the input to separate, in seconds; no duration means to the end.
    """

    extension: str = ".wav"
    depth: str | None = None
    model_rate: bool = False
    residual: str | None = None
    aggregate: Mapping[str, Sequence[str]] | None = None
    start: float = 0.0
    duration: float | None = None

    def names(self, targets: Sequence[str]) -> dict[str, list[str]]:
        """Return what is written.

        Parameters
        ----------
        targets : sequence of str
            The targets of the separator.

        Returns
        -------
        dict of str to list of str
            By name of the output, the estimates that are summed for it.

        Raises
        ------
        ValueError
            If a name cannot be a file name, or a sum asks for what is not there.
        """
        available = [*targets, *([] if self.residual is None else [self.residual])]
        if len(set(available)) < len(available):
            raise ValueError(f"the residual cannot be called {self.residual!r}: a target is")
        sums = {name: [name] for name in available}
        if self.aggregate is not None:
            sums = {name: list(parts) for name, parts in self.aggregate.items()}
        for name, parts in sums.items():
            unknown = [part for part in parts if part not in available]
            if unknown or not parts:
                raise ValueError(f"cannot make {name!r} from {parts}: choose from {available}")
            if not _is_file_name(name):
                raise ValueError(f"{name!r} cannot be a file name; choose another name")
        if len({name.casefold() for name in sums}) < len(sums):
            raise ValueError(f"{list(sums)} differ only in case, which not every disk tells apart")
        return sums


def _is_file_name(name: str) -> bool:
    """Whether a name is that of a file on every system, with room for an extension."""
    reserved = name.strip(".") == "" or not set(name).isdisjoint('/\\:*?"<>|')
    return not reserved and name.isprintable() and len(name.encode()) <= 200


@dataclass(frozen=True)
class FileResult:
    """What was written.

    Attributes
    ----------
    outputs : dict of str to Path
        Files by name.
    sample_rate : int
        Of the files, in Hz; another than asked for where the format cannot hold that.
    channels : int
        Of every output.
    duration : float
        Of every output, in seconds.
    peak : float
        Largest absolute value of all outputs before the gain; 1 is full scale.
    gain : float
        Factor applied to all of them, 1 unless an integer format would have clipped.
    """

    outputs: dict[str, Path]
    sample_rate: int
    channels: int
    duration: float
    peak: float
    gain: float


def output_paths(folder: Path, names: Sequence[str], extension: str) -> dict[str, Path]:
    """Files that are written for an input: one for each name, or one for all.

    Parameters
    ----------
    folder : Path
        Where outputs go.
    names : sequence of str
        The outputs.
    extension : str
        With its dot.

    Returns
    -------
    dict of str to Path
        A path by name.
    """
    if extension == STEM_MP4:
        return {name: folder / f"{folder.name}{extension}" for name in names}
    return {name: folder / f"{name}{extension}" for name in names}


def separate_file(
    source: Path,
    folder: Path,
    separator: Separator,
    options: FileOptions | None = None,
    config: StreamConfig | None = None,
    progress: Progress | None = None,
) -> FileResult:
    """Separate an audio file into files.

    Parameters
    ----------
    source : Path
        The mixture, in any format that :class:`openunmix.audio.AudioReader` reads.
    folder : Path
        Where outputs go; it is made when they are complete.
    separator : Separator
        The networks and the settings of the filter.
    options : FileOptions, optional
        What to write.
    config : StreamConfig, optional
        How to compute.
    progress : callable, optional
        Called with the seconds of audio that have been separated, again and again.

    Returns
    -------
    FileResult
        What was written.

    Raises
    ------
    AudioFileError
        If the input cannot be read or an output not be written. Nothing is left behind then.
    ValueError
        If the options ask for outputs that cannot be made.
    """
    options = options or FileOptions()
    sums = options.names(list(separator.target_models))
    outputs = output_paths(folder, list(sums), options.extension)
    _check_overwriting(source, outputs)
    with AudioReader(source, options.start, options.duration) as reader, workspace(folder) as work:
        spool = _spool(reader, separator, options, config, sums, work, progress)
        finished = _encode(spool, source, options, work)
        folder.mkdir(parents=True, exist_ok=True)
        for path, temporary in {outputs[name]: finished[name] for name in outputs}.items():
            os.replace(temporary, path)
        return _result(spool, outputs, options)


def _check_overwriting(source: Path, outputs: Mapping[str, Path]) -> None:
    """Raise if the input is where an output is to be."""
    for path in outputs.values():
        if os.path.realpath(path) == os.path.realpath(source):
            raise AudioFileError(f"{str(source)!r} would be overwritten; choose another folder")


@dataclass
class _Spool:
    """Float WAV files of everything, and what was learnt while writing them."""

    sums: dict[str, list[str]]
    files: dict[str, Path]
    sample_rate: int
    channels: int
    samples: int = 0
    peaks: dict[str, float] = field(default_factory=dict)

    @property
    def peak(self) -> float:
        """Largest absolute value of all that is written."""
        return max(self.peaks.values())


def _spool(
    reader: AudioReader,
    separator: Separator,
    options: FileOptions,
    config: StreamConfig | None,
    sums: dict[str, list[str]],
    workspace: Path,
    progress: Progress | None,
) -> _Spool:
    """Separate into float WAV files in the workspace."""
    targets = list(separator.target_models)
    model_rate = round(float(separator.sample_rate))
    rate = model_rate if options.model_rate else reader.info.sample_rate
    channels = _channels(reader, separator, options)
    names = [*sums, *([_MIXTURE] if options.extension == STEM_MP4 else [])]
    files = {name: workspace / f"{number}.wav" for number, name in enumerate(names)}
    spool = _Spool(sums, files, rate, channels, peaks=dict.fromkeys(names, 0.0))
    tags_from = reader.path if _is_spool_format(options) else None
    expected = reader.length and round(reader.length * rate / reader.info.sample_rate)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                AudioWriter(
                    path, rate, channels, "32f", expected_samples=expected, tags_from=tags_from
                )
            )
            for name, path in files.items()
        }
        one_by_one = separator.nb_channels == 1 < channels
        exact = config is not None and config.exact and not one_by_one
        part = AudioSource(Path(reader.path), start=options.start, duration=options.duration)
        mixture = Mixture(part, channels, model_rate, options.model_rate, exact)
        for sound in sounds(mixture, separator, config, rate):
            available = dict(zip(targets, sound.estimates, strict=True))
            if options.residual:
                available[options.residual] = sound.mixture - sound.estimates.sum(axis=0)
            outputs = {name: sum(available[part] for part in sums[name]) for name in sums}
            for name, writer in writers.items():
                block = np.asarray(outputs.get(name, sound.mixture))
                writer.write(block)
                spool.peaks[name] = max(spool.peaks[name], _peak(block, reader))
            spool.samples += sound.mixture.shape[-1]
            if progress:
                progress(spool.samples / rate)
    return spool


def _peak(block: np.ndarray, reader: AudioReader) -> float:
    """Return the largest absolute value; raise if there is one that is not finite."""
    peak = float(np.abs(block).max(initial=0))
    if not math.isfinite(peak):
        raise AudioFileError(
            f"{str(reader.path)!r} is too loud to compute with: estimates are not finite; turn it "
            "down to values within -1 and 1"
        )
    return peak


def _is_spool_format(options: FileOptions) -> bool:
    """Whether the spooled files are already what was asked for."""
    return options.extension == ".wav" and options.depth in (None, "32f")


def _channels(reader: AudioReader, separator: Separator, options: FileOptions) -> int:
    """Return how many channels are separated; say so if they are fewer than the input's."""
    channels, most = reader.info.channels, separator.nb_channels
    if most > 1 and channels > most:
        if len(reader.info.layout) != channels:
            raise AudioFileError(f"{str(reader.path)!r} has {channels} channels; mix them to two")
        logger.warning("%s: %d channels mixed down to stereo (ITU-R BS.775)", reader.path, channels)
        return 2
    if options.extension != STEM_MP4:
        most = output_format(options.extension).max_channels
        if channels > most:
            raise AudioFileError(
                f"{str(reader.path)!r} has {channels} channels and {options.extension} takes "
                f"{most}; write .wav"
            )
    return channels


def _encode(spool: _Spool, source: Path, options: FileOptions, workspace: Path) -> dict[str, Path]:
    """Turn the spooled files into the format asked for, still in the workspace."""
    if options.extension == STEM_MP4:
        return _encode_stem_mp4(spool, source, workspace)
    if _is_spool_format(options):
        return spool.files
    gain = clipping_gain(spool.peak, options.extension, options.depth)
    suffix = options.extension
    outputs = {name: workspace / f"out-{number}{suffix}" for number, name in enumerate(spool.sums)}

    def encode(name: str) -> None:
        _copy(spool, name, outputs[name], gain, options.depth, tags_from=source)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(encode, outputs))
    return outputs


def _copy(
    spool: _Spool, name: str, path: Path, gain: float, depth: str | None, tags_from: Path
) -> None:
    """Encode one spooled file, and free its space."""
    spooled = spool.files[name]
    with (
        AudioReader(spooled) as reader,
        AudioWriter(
            path,
            spool.sample_rate,
            spool.channels,
            depth,
            expected_samples=spool.samples,
            tags_from=tags_from,
        ) as writer,
    ):
        for block in reader:
            writer.write(block * np.float32(gain))
    spooled.unlink()


def _encode_stem_mp4(spool: _Spool, source: Path, workspace: Path) -> dict[str, Path]:
    """Write one file with the mixture and all stems."""
    gain = clipping_gain(spool.peak, STEM_MP4)
    path = workspace / f"all{STEM_MP4}"
    stems = {name: spool.files[name] for name in spool.sums}
    write_stem_mp4(path, spool.files[_MIXTURE], stems, tags_from=source, gain=gain)
    return dict.fromkeys(spool.sums, path)


def _result(spool: _Spool, outputs: dict[str, Path], options: FileOptions) -> FileResult:
    """Describe what was written."""
    stem_mp4 = options.extension == STEM_MP4
    extension = ".m4a" if stem_mp4 else options.extension
    return FileResult(
        outputs,
        supported_sample_rate(extension, spool.sample_rate),
        channels=2 if stem_mp4 else spool.channels,
        duration=spool.samples / spool.sample_rate,
        peak=spool.peak,
        gain=clipping_gain(spool.peak, options.extension, options.depth),
    )
