"""From an audio file to files of its estimates, all of them or none.

Estimates are first stored as plain float samples, because only at the end is it known how long they
are, and whether a peak would clip in an integer format.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from openunmix_lite.audio import _DOWNMIX, BLOCK, AudioFile, Resampler, downmix
from openunmix_lite.errors import LiteError
from openunmix_lite.model import Model, is_file_name
from openunmix_lite.stream import separate_stream
from openunmix_lite.types import Real
from openunmix_lite.wiener import FilterOptions

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Format(NamedTuple):
    """A format of outputs, as libsndfile calls it."""

    name: str
    subtypes: Mapping[str, str] = {}  # by bit depth, the default last; "" without a choice
    rates: Sequence[int] = ()  # in Hz, ascending; any if empty
    quality: Mapping[str, Any] = {}  # high, as stems are processed further


FORMATS = {
    ".wav": Format("WAV", {"16": "PCM_16", "24": "PCM_24", "32": "FLOAT"}),
    ".flac": Format("FLAC", {"16": "PCM_16", "24": "PCM_24"}),
    ".ogg": Format("OGG", {"": "VORBIS"}, _RATES, {"compression_level": 0.2}),
    ".opus": Format("OGG", {"": "OPUS"}, (8000, 12000, 16000, 24000, 48000)),
    ".mp3": Format(
        *("MP3", {"": "MPEG_LAYER_III"}, _RATES),
        {"compression_level": 0.0, "bitrate_mode": "CONSTANT"},
    ),
    ".m4a": Format("", {"": "AAC"}, _RATES),
}

_CEILING = 0.9999  # peak of integer formats after a gain: rounding must not clip
_TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright")
_CHUNK = 4096  # libsndfile puts what is written to Vorbis on its stack


@dataclass(frozen=True)
class FileOptions:
    """Which outputs to write."""

    extension: str = ".wav"  #: a key of ``FORMATS``
    depth: str | None = None  #: bits, ``"16"``, ``"24"`` or ``"32"`` (float), for .wav and .flac
    model_rate: bool = False  #: whether to write at the model's sample rate, not the input's
    residual: str | None = None  #: name of the residual, the input minus all estimates
    aggregate: Mapping[str, Sequence[str]] | None = (
        None  #: names, and the estimates summed for each
    )
    targets: Sequence[str] | None = None  #: those to write; all by default
    start: float = 0.0  #: of the excerpt, in seconds
    duration: float | None = None  #: of the excerpt; to the end by default
    filter: FilterOptions = field(default_factory=FilterOptions)

    def sums(self, model: Model) -> dict[str, list[str]]:
        """Names of outputs and the estimates summed for each; ValueError if impossible."""
        if self.extension not in FORMATS:
            raise ValueError(f"cannot write {self.extension}; choose from {', '.join(FORMATS)}")
        depths = list(filter(None, FORMATS[self.extension].subtypes))
        if self.depth and self.depth not in depths:
            raise ValueError(f"{self.extension} cannot be written with {self.depth} bits")
        targets = list(dict.fromkeys(self.targets or model.targets))
        available = [*targets, *([] if self.residual is None else [self.residual])]
        if not set(targets) <= set(model.targets) or len(set(available)) < len(available):
            raise ValueError(f"choose targets from {model.targets}, and another name for the rest")
        sums = {name: [name] for name in available}
        if self.aggregate is not None:
            sums = {name: list(parts) for name, parts in self.aggregate.items()}
        for name, parts in sums.items():
            if not is_file_name(name):
                raise ValueError(f"{name!r} cannot be a file name; choose another name")
            if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(available):
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
    sums = options.sums(model)
    outputs = {name: folder / f"{name}{options.extension}" for name in sums}
    file = AudioFile(path, options.start, options.duration)
    channels = _output_channels(file, model, options)
    try:
        _check_outputs(path, outputs)
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=".umx-", suffix=".part", dir=above) as work:
            spool = _Spool(Path(work), list(sums), channels, file, model, options)
            for estimates in _estimates(file, model, options, sums, channels):
                spool.write(estimates)
                progress(spool.samples / spool.rate)
            finished = spool.encode()
            folder.mkdir(parents=True, exist_ok=True)
            for name, output in outputs.items():
                os.replace(finished[name], output)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LiteError(f"{str(folder)!r} cannot be written: {reason}") from error
    return FileResult(outputs, spool.samples / spool.rate, spool.gain)


def _output_channels(file: AudioFile, model: Model, options: FileOptions) -> int:
    """Channels of the outputs; LiteError if there is no way to them."""
    path, channels = str(file.path), file.channels
    if options.extension == ".m4a" and not importlib.util.find_spec("av"):
        raise LiteError("writing .m4a needs PyAV: pip install 'openunmix-lite[formats]'")
    if model.channels == 2 and channels > 2:
        if channels not in _DOWNMIX:
            raise LiteError(f"{path!r} has {channels} channels; mix them to two")
        channels = 2
    most = {".wav": 1024, ".flac": 8}.get(options.extension, 2)
    if channels > most:
        raise LiteError(
            f"{path!r} has {channels} channels and {options.extension} takes {most}; write .wav"
        )
    return channels


def _check_outputs(path: Path, outputs: Mapping[str, Path]) -> None:
    """Raise LiteError for an output that is the input, a folder or read-only."""
    for output in outputs.values():
        if output.resolve() == path.resolve():
            raise LiteError(f"{str(path)!r} would be overwritten; choose another folder")
        if output.exists() and not (output.is_file() and os.access(output, os.W_OK)):
            raise LiteError(f"output {str(output)!r} is a folder or read-only; rename or remove it")


def _estimates(
    file: AudioFile,
    model: Model,
    options: FileOptions,
    sums: Mapping[str, list[str]],
    channels: int,
) -> Iterator[dict[str, Real]]:
    """Yield parts of all outputs (channels, samples), by name."""
    blocks = map(downmix, file) if channels == 2 else file
    targets = options.targets or model.targets
    for mixture, estimates in separate_stream(
        *(model, blocks, channels, file.sample_rate, options.filter, options.model_rate)
    ):
        found = dict(zip(model.targets, estimates, strict=True))
        available = {target: found[target] for target in targets}
        if options.residual is not None:
            available[options.residual] = mixture - np.sum(list(available.values()), axis=0)
        yield {
            name: np.sum([available[part] for part in parts], axis=0)
            for name, parts in sums.items()
        }


class _Spool:
    """Plain float samples of all outputs in a folder, and their encoding."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        channels: int,
        file: AudioFile,
        model: Model,
        options: FileOptions,
    ) -> None:
        self._source, self._channels, self._extension = file, channels, options.extension
        self._depth = options.depth
        self.rate = round(model.sample_rate) if options.model_rate else file.sample_rate
        self._paths = {name: folder / str(number) for number, name in enumerate(names)}
        self.samples, self._peak, self.gain = 0, 0.0, 1.0

    def write(self, parts: Mapping[str, Real]) -> None:
        """Append (channels, samples) to each output."""
        for name, part in parts.items():
            with self._paths[name].open("ab") as file:
                file.write(np.ascontiguousarray(part.T, "<f4").data)
            self._peak = max(self._peak, float(np.abs(part).max(initial=0)))
        if not np.isfinite(self._peak):
            raise LiteError(
                f"{str(self._source.path)!r} is too loud to compute with: turn it down to values "
                "within -1 and 1"
            )
        self.samples += part.shape[1]

    def encode(self) -> dict[str, Path]:
        """Encode everything; return temporary files by name."""
        depth = self._depth or [*FORMATS[self._extension].subtypes][-1]
        if self._peak > 1 and depth != "32":
            self.gain = _CEILING / self._peak
        with ThreadPoolExecutor(len(self._paths)) as pool:
            paths = pool.map(lambda path: self._encode(path, depth), self._paths.values())
            return dict(zip(self._paths, paths, strict=True))

    def _encode(self, path: Path, depth: str) -> Path:
        """Encode one output, and free its space."""
        entry = FORMATS[self._extension]
        rate = next((rate for rate in entry.rates if rate >= self.rate), self.rate)
        rate = min(rate, entry.rates[-1]) if entry.rates else rate
        resampler = Resampler(self.rate, rate, self._channels)
        output = path.with_suffix(self._extension)
        with ExitStack() as stack:
            samples = stack.enter_context(path.open("rb"))
            if entry.name:
                size = self.samples * self._channels * 4
                # A WAV counts 4 GiB; what most programs read as one counts more.
                name = "RF64" if entry.name == "WAV" and size > 2**32 - 2**16 else entry.name
                encoder: Any = soundfile.SoundFile(
                    *(output, "w", rate, self._channels, entry.subtypes[depth]),
                    format=name,
                    **entry.quality,
                )
                for tag in set(_TAGS) & set(self._source.tags):
                    setattr(encoder, tag, self._source.tags[tag])
            else:
                from openunmix_lite.formats import Encoder

                encoder = Encoder(stack.enter_context(output.open("wb")), rate, self._channels)
            stack.enter_context(encoder)
            while data := samples.read(4 * self._channels * BLOCK):
                block = np.frombuffer(data, "<f4").reshape(-1, self._channels).T
                self._write(encoder, resampler.process(block * np.float32(self.gain)))
            self._write(encoder, resampler.process(None))
        path.unlink()
        return output

    def _write(self, encoder: Any, block: Real) -> None:
        for start in range(0, block.shape[1], _CHUNK):
            encoder.write(np.ascontiguousarray(block[:, start : start + _CHUNK].T))
