"""From an audio file to files of its estimates, all of them or none.

Estimates are first stored as float samples, because only at the end is it known whether a peak
would clip in an integer format.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from openunmix_lite.audio import Audio, open_audio, resampled
from openunmix_lite.errors import LiteError
from openunmix_lite.model import Model, is_file_name
from openunmix_lite.stream import separate_stream
from openunmix_lite.wiener import FilterOptions

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BEST_MP3 = {"compression_level": 0.0, "bitrate_mode": "CONSTANT"}


class Format(NamedTuple):
    """A format of outputs, as libsndfile calls it."""

    name: str
    subtypes: Mapping[str, str]  # by bit depth, the default last; "" without a choice
    rates: Sequence[int] = ()  # in Hz, ascending; any if empty
    quality: Mapping[str, Any] = {}  # high, as stems are processed further


FORMATS = {
    ".wav": Format("WAV", {"16": "PCM_16", "24": "PCM_24", "32": "FLOAT"}),
    ".flac": Format("FLAC", {"16": "PCM_16", "24": "PCM_24"}),
    ".ogg": Format("OGG", {"": "VORBIS"}, _RATES, {"compression_level": 0.2}),
    ".opus": Format("OGG", {"": "OPUS"}, (8000, 12000, 16000, 24000, 48000)),
    ".mp3": Format("MP3", {"": "MPEG_LAYER_III"}, _RATES, _BEST_MP3),
}

_CEILING = 0.9999  # peak of integer formats after a gain: rounding must not clip
_TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright")
_CHUNK = 16384  # samples; libsndfile puts what is written to Vorbis on its stack


@dataclass(frozen=True)
class FileOptions(FilterOptions):
    """Which outputs to write, by the names of the command's options."""

    ext: str = ".wav"  #: a key of ``FORMATS``
    bit_depth: str | None = None  #: ``"16"``, ``"24"`` or ``"32"`` (float), for .wav and .flac
    rate: str = "input"  #: sample rate of the outputs, or ``"model"``
    aggregate: Mapping[str, Sequence[str]] | None = None  #: estimates to sum, by name of the sum
    start: float = 0.0  #: of the excerpt, in seconds
    duration: float | None = None  #: of the excerpt; to the end by default

    def __post_init__(self) -> None:
        """Raise ValueError for settings out of range."""
        super().__post_init__()
        if self.ext not in FORMATS:
            raise ValueError(f"cannot write {self.ext!r}; choose from {', '.join(FORMATS)}")
        if self.bit_depth and self.bit_depth not in FORMATS[self.ext].subtypes:
            raise ValueError(f"{self.ext} cannot be written with {self.bit_depth} bits")
        duration = 1.0 if self.duration is None else self.duration
        if not 0 <= self.start < math.inf or not 0 < duration < math.inf:
            raise ValueError("the start must be 0 s or more, and the duration positive and finite")

    @property
    def subtype(self) -> str:
        """Encoding of the samples, as libsndfile calls it."""
        subtypes = FORMATS[self.ext].subtypes
        return subtypes[self.bit_depth or list(subtypes)[-1]]

    def sums(self, targets: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Names of outputs and the estimates summed for each; ValueError if impossible."""
        available = [*targets, *([] if self.residual is None else [self.residual])]
        sums = self.aggregate or {name: [name] for name in available}
        if self.residual in targets or not isinstance(sums, Mapping):
            raise ValueError("sums have names, and the residual has another one than the targets")
        for name, parts in sums.items():
            is_known = isinstance(parts, list | tuple) and all(part in available for part in parts)
            if not is_file_name(name) or not is_known or not 0 < len(parts) == len(set(parts)):
                raise ValueError(f"cannot make {name!r} from {parts}: choose from {available}")
        return sums


class FileResult(NamedTuple):
    """What was written."""

    outputs: dict[str, Path]
    duration: float  # seconds
    gain: float  # factor applied to all outputs; 1 unless the format would have clipped


def separate_file(
    path: str | Path,
    folder: str | Path,
    model: Model | None = None,
    options: FileOptions | None = None,
    progress: Callable[[float], object] = lambda seconds: None,
) -> FileResult:
    """Separate an audio file into files in a folder, which is made when they are complete.

    Raises LiteError if the input cannot be read or an output not be written; ValueError for
    impossible options. ``progress`` is called with the seconds that have been separated.
    """
    path, folder = Path(path), Path(folder)
    model, options = model or Model(), options or FileOptions()
    outputs = {name: folder / f"{name}{options.ext}" for name in options.sums(model.targets)}
    above = next(place for place in folder.absolute().parents if place.is_dir())
    try:
        audio = open_audio(path, options.start, options.duration)
        _check_outputs(path, outputs.values())
        rate = _output_rate(audio, model, options)
        with tempfile.TemporaryDirectory(prefix=".umx-", suffix=".part", dir=above) as work:
            spools = [Path(work, f"{number}.w64") for number in range(len(outputs))]
            peak = _store(audio, model, options, rate, spools, progress)
            if not np.isfinite(peak):
                raise LiteError(f"estimates of {str(path)!r} are not finite; check the model")
            gain = _CEILING / peak if peak > 1 and options.subtype != "FLOAT" else 1.0
            duration = soundfile.info(spools[0]).duration
            encode = partial(_encode, options=options, gain=gain, tags=audio.tags)
            with ThreadPoolExecutor(len(spools)) as pool:
                encoded = list(pool.map(encode, spools))
            folder.mkdir(parents=True, exist_ok=True)
            for source, output in zip(encoded, outputs.values(), strict=True):
                os.replace(source, output)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or error
        where = f"{str(path)!r} cannot be separated into {str(folder)!r}"
        raise LiteError(f"{where}: {reason}") from error
    return FileResult(outputs, duration, gain)


def _check_outputs(path: Path, outputs: Iterable[Path]) -> None:
    """Raise LiteError for an output that cannot be written."""
    for output in outputs:
        if output.resolve() == path.resolve():
            raise LiteError(f"{str(path)!r} would be overwritten; choose another folder")
        if output.exists() and not (output.is_file() and os.access(output, os.W_OK)):
            raise LiteError(f"output {str(output)!r} is a folder or read-only; rename or remove it")


def _output_rate(audio: Audio, model: Model, options: FileOptions) -> int:
    """Sample rate of the outputs: the wanted one, or the next that their format has."""
    rate = round(model.sample_rate) if options.rate == "model" else audio.sample_rate
    rates = FORMATS[options.ext].rates
    return next((found for found in rates if found >= rate), rates[-1]) if rates else rate


def _store(
    audio: Audio,
    model: Model,
    options: FileOptions,
    rate: int,
    paths: Sequence[Path],
    progress: Callable[[float], object],
) -> float:
    """Separate a file and store its outputs as float samples; return their peak."""
    blocks, peak, seconds = resampled(audio.blocks, audio.sample_rate, rate), 0.0, 0.0
    sums = options.sums(model.targets).values()
    with ExitStack() as stack:
        form = (rate, audio.channels, "FLOAT")
        files = [stack.enter_context(soundfile.SoundFile(path, "w", *form)) for path in paths]
        for mixture, estimates in separate_stream(model, blocks, audio.channels, rate, options):
            available = dict(zip(model.targets, estimates, strict=True))
            if options.residual is not None:
                available[options.residual] = mixture - estimates.sum(axis=0)
            for file, parts in zip(files, sums, strict=True):
                output = np.sum([available[part] for part in parts], axis=0)
                file.write(output.T)
                peak = float(np.maximum(peak, np.abs(output).max(initial=0)))  # NaN remains
            seconds += mixture.shape[1] / rate
            progress(seconds)
    return peak


def _encode(spool: Path, options: FileOptions, gain: float, tags: Mapping[str, str]) -> Path:
    """Encode an output in its format, and free the space of its samples."""
    entry, output = FORMATS[options.ext], spool.with_suffix(options.ext)
    with soundfile.SoundFile(spool) as samples:
        # A WAV counts 4 GiB; what most programs read as one counts more.
        is_long = samples.frames * samples.channels * 4 > 2**32 - 2**16
        name = "RF64" if entry.name == "WAV" and is_long else entry.name
        form = (samples.samplerate, samples.channels, options.subtype)
        with soundfile.SoundFile(output, "w", *form, format=name, **entry.quality) as file:
            for tag in set(_TAGS) & set(tags):
                setattr(file, tag, tags[tag])
            for block in samples.blocks(_CHUNK, dtype="float32", always_2d=True):
                file.write(block * np.float32(gain))
    spool.unlink()
    return output
