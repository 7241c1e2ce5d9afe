"""Sample rate conversion of streams and of whole signals, by soxr."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from openunmix.audio.channels import Block


def resampled_length(length: int, rate_in: int, rate_out: int) -> int:
    """Length in samples of a signal after conversion."""
    return round(length * rate_out / rate_in)


class Resampler:
    """Sample rate converter for a stream of blocks; equal rates pass them through.

    The filter is soxr's HQ: linear phase, its delay compensated. The output does not
    depend on how the signal is cut into blocks.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        import soxr

        if min(rate_in, rate_out, channels) <= 0:
            raise ValueError(
                f"rate_in={rate_in}, rate_out={rate_out} and channels={channels} must be positive"
            )
        self.rate_in, self.rate_out, self.channels = rate_in, rate_out, channels
        self._taken = self._given = 0
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(
                rate_in, rate_out, channels, dtype="float32", quality="HQ"
            )

    def process(self, block: Block, last: bool = False) -> Block:
        """Convert the next block, shape (channels, samples), and return the samples that are ready.

        The `last` block flushes the filter; all blocks together have `resampled_length` samples.
        """
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(
                f"block has shape {block.shape}, expected ({self.channels}, samples): "
                "channels come first"
            )
        if self._stream is None:
            return block
        self._taken += block.shape[1]
        interleaved = np.ascontiguousarray(block.T, dtype=np.float32)
        resampled: Block = self._stream.resample_chunk(interleaved, last=last).T
        if last:
            resampled = self._fit(resampled)
        self._given += resampled.shape[1]
        return resampled

    def _fit(self, block: Block) -> Block:
        """Crop or pad the last block to the exact total; soxr rounds .5 up, `round` to even."""
        missing = resampled_length(self._taken, self.rate_in, self.rate_out) - self._given
        block = block[:, : max(missing, 0)]
        return np.pad(block, ((0, 0), (0, missing - block.shape[1])))


def resample(waveform: Tensor, rate_in: int, rate_out: int) -> Tensor:
    """Convert the sample rate of a whole signal.

    Parameters
    ----------
    waveform : Tensor [shape=(..., samples)], real
        Any leading axes. Not differentiable.
    rate_in, rate_out : int > 0
        Sample rates in Hz.

    Returns
    -------
    Tensor [shape=(..., samples)], real
        `resampled_length` samples, computed in float32, in the dtype and on the device
        of the input. Equal to the output of `Resampler`.

    Examples
    --------
    >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
    torch.Size([2, 16000])
    """
    if not waveform.numel():
        length = resampled_length(waveform.shape[-1], rate_in, rate_out) if rate_in > 0 else 0
        return waveform.new_zeros(*waveform.shape[:-1], length)
    flat = waveform.detach().reshape(-1, waveform.shape[-1])
    resampler = Resampler(rate_in, rate_out, flat.shape[0])
    block = resampler.process(flat.to("cpu", torch.float32).numpy(), last=True)
    return torch.from_numpy(block.copy()).reshape(*waveform.shape[:-1], -1).to(waveform)
