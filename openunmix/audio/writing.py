"""Writing of audio files in blocks, completely or not at all."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openunmix.audio._paths import PartFile, StrPath, codec_errors, quote
from openunmix.audio.channels import Block
from openunmix.audio.encoders import (
    FfmpegEncoder,
    SndfileEncoder,
    output_format,
    supported_sample_rate,
)
from openunmix.audio.resampling import Resampler, resampled_length
from openunmix.errors import AudioFileError


class AudioWriter:
    """Writer of an audio file, block by block.

    A context manager. The samples go to a temporary file in the same folder, which is
    renamed to `path` at the end and removed on an exception. The extension selects the
    format, see `OUTPUT_FORMATS`. Every format but WAV in float clips what exceeds full
    scale: the caller chooses the gain, see `clipping_gain`.

    Parameters
    ----------
    path : str or path
        The file to write; its folder must exist.
    sample_rate : int > 0
        Of the blocks, in Hz. They are resampled to `supported_sample_rate`.
    channels : int > 0
        Of the blocks.
    depth : str, optional
        ``"16"``, ``"24"`` or ``"32f"`` where the format has several.
    expected_samples : int, optional
        Upper bound of the length, by which a format that cannot hold it is refused at once.
        A WAV that grows beyond 4 GiB becomes an RF64, which most programs read as a WAV.
    tags_from : str or path, optional
        A file whose title, artist, cover and so on are copied.
    bit_rate : int, optional
        Average bit rate of Opus for all channels together, in bits per second; 128 kbit/s
        per channel by default.

    Raises
    ------
    AudioFileError
        If the file cannot be written; the message names it.
    ValueError
        If the format is unknown or does not support what is asked for.
    """

    def __init__(
        self,
        path: StrPath,
        sample_rate: int,
        channels: int,
        depth: str | None = None,
        expected_samples: int | None = None,
        tags_from: StrPath | None = None,
        bit_rate: int | None = None,
    ) -> None:
        self.path, self.channels = path, channels
        self._tags_from = tags_from
        self._errors = partial(codec_errors, f"{quote(path)} could not be written")
        self._entry = output_format(Path(path).suffix)
        self._depth = self._checked(depth, sample_rate)
        if bit_rate is not None and self._entry.extension != ".opus":
            raise ValueError(f"{self._entry.extension} has no choice of bit_rate; .opus has")
        self._bit_rate = bit_rate
        #: Sample rate of the file, in Hz.
        self.sample_rate = supported_sample_rate(self._entry.extension, sample_rate)
        self._resampler = Resampler(sample_rate, self.sample_rate, channels)
        if expected_samples is not None:
            self._check_length(resampled_length(expected_samples, sample_rate, self.sample_rate))
        self._part = PartFile(path)
        self._encoder: SndfileEncoder | FfmpegEncoder | None = None
        try:
            with self._errors():
                self._encoder = self._make_encoder()
                self._part.check()
        except BaseException:
            self._discard()
            raise

    def _checked(self, depth: str | None, sample_rate: int) -> str | None:
        """Return the depth; raise if the format does not support what is asked for."""
        entry = self._entry
        if depth is not None and depth not in entry.depths:
            raise ValueError(
                f"{entry.extension} cannot be written with depth {depth!r}; "
                f"choose {' or '.join(map(repr, entry.depths)) or 'none'}"
            )
        if not 1 <= self.channels <= entry.max_channels:
            raise ValueError(
                f"{entry.extension} takes 1 to {entry.max_channels} channels, not "
                f"{self.channels}; write .wav or mix down to stereo"
            )
        if sample_rate <= 0:
            raise ValueError(f"sample_rate is {sample_rate}, expected a positive number of Hz")
        return depth or entry.default_depth

    def _check_length(self, samples: int) -> None:
        """Raise if the format cannot count that many samples."""
        most = self._entry.max_samples
        if samples > most:
            raise AudioFileError(
                f"{quote(self.path)} cannot be written: {samples} samples, and "
                f"{self._entry.extension} holds {most}; write .wav"
            )

    def _make_encoder(self) -> SndfileEncoder | FfmpegEncoder:
        """Return the encoder of the format, on the temporary file."""
        entry, rate, channels = self._entry, self.sample_rate, self.channels
        if entry.codec in ("aac", "libopus"):
            return FfmpegEncoder(
                self._part, entry.container, entry.codec, rate, channels, self._bit_rate
            )
        return SndfileEncoder(self._part, entry, self._depth, rate, channels)

    def write(self, block: npt.NDArray[np.floating] | Tensor) -> None:
        """Append a block of shape (channels, samples), full scale at 1."""
        if self._encoder is None:
            raise ValueError(f"{quote(self.path)} is closed; write before leaving the context")
        if isinstance(block, Tensor):
            block = block.detach().to("cpu", torch.float32).numpy()
        self._encode(np.asarray(block, dtype=np.float32), last=False)

    def _encode(self, block: Block, last: bool) -> None:
        """Resample and encode."""
        resampled = self._resampler.process(block, last=last)
        assert self._encoder is not None
        with self._errors():
            self._encoder.write(resampled)
            self._part.check()

    def _finish(self) -> None:
        """Complete the file and rename it to its target, or remove it and raise."""
        try:
            self._encode(np.zeros((self.channels, 0), dtype=np.float32), last=True)
            with self._errors():
                self._close_encoder()
                self._part.commit(self._tags_from)
        finally:
            self._discard()

    def _discard(self) -> None:
        """Remove the temporary file; an earlier file at `path` remains."""
        # Closing an encoder writes to the file, which must still be open.
        with suppress(AudioFileError), self._errors():
            self._close_encoder()
        self._part.discard()

    def _close_encoder(self) -> None:
        """Flush the encoder, once."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.close()

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self._finish()
        else:
            self._discard()
