"""Audio that cannot be read in parts as it is stored: converted once, and kept on disk.

An excerpt of a WAV or FLAC file at the right sample rate is read from the file itself. All else is
decoded and resampled as a whole when it is first wanted: an excerpt of an AAC or Vorbis stream
would need everything before it. What comes out is kept as float32 samples, exactly what decoding
gives, in a folder that all workers and all later runs share: ``~/.cache/openunmix/decoded``, or
the one that the variable ``OPENUNMIX_DECODED`` of the environment names. The folder can be deleted
at any time; a file that was changed is converted again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openunmix.audio import AudioReader, Resampler
from openunmix.errors import AudioFileError

__all__ = ["decoded_file", "decoded_folder", "read_decoded"]

_BYTES = 4  # of a float32


def decoded_folder() -> Path:
    """Return the folder of converted files, which need not exist yet.

    Returns
    -------
    Path
        As said above; ``XDG_CACHE_HOME`` takes the place of ``~/.cache``.
    """
    chosen = os.environ.get("OPENUNMIX_DECODED")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "openunmix", "decoded")


def decoded_file(path: Path, stream: int, sample_rate: int) -> Path:
    """Convert a stream, unless that has been done.

    Parameters
    ----------
    path : Path
        An audio file.
    stream : int
        Which of its audio streams.
    sample_rate : int
        Rate wanted in Hz.

    Returns
    -------
    Path
        A file of float32 samples, the channels of one time after each other.

    Raises
    ------
    AudioFileError
        If the stream cannot be read, or the result cannot be written.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror}") from error
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, stream, sample_rate)
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    target = decoded_folder() / f"{name}.f32"
    if not target.exists():
        try:
            _convert(path, stream, sample_rate, target)
        except AudioFileError:
            raise
        except OSError as error:
            raise AudioFileError(
                f"{path}: its decoded audio cannot be kept in {target.parent} ({error.strerror}); "
                "make room there, or name another folder in the variable OPENUNMIX_DECODED"
            ) from error
    return target


def _convert(path: Path, stream: int, sample_rate: int, target: Path) -> None:
    """Decode and resample in blocks to a temporary file, and give it its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with AudioReader(path, stream=stream) as reader:
        resampler = Resampler(reader.info.sample_rate, sample_rate, reader.info.channels)
        empty = np.zeros((reader.info.channels, 0), dtype=np.float32)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                for block in reader:
                    resampler.process(block).T.astype("<f4").tofile(file)
                resampler.process(empty, last=True).T.astype("<f4").tofile(file)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def read_decoded(file: Path, channels: int, start: int, length: int) -> Tensor:
    """Read an excerpt of a converted file.

    Parameters
    ----------
    file : Path
        What :func:`decoded_file` returned.
    channels : int
        Its number of channels.
    start, length : int
        First sample, and the number of them.

    Returns
    -------
    Tensor [shape=(channels, samples)], real
        Fewer samples where the file ends.
    """
    offset = _BYTES * channels * start
    samples = np.fromfile(file, dtype="<f4", count=channels * length, offset=offset)
    return torch.from_numpy(samples.reshape(-1, channels).T.astype(np.float32, order="C"))
