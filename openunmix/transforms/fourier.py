r"""Short-time Fourier transform on complex tensors.

With the window :math:`w` of ``n_fft`` samples and a hop of ``n_hop`` samples,

.. math:: X(f, t) = \sum_{n=0}^{N-1} w(n)\, x(n + t\,h)\, e^{-2\pi i f n / N}.

With ``center=True`` frame :math:`t` is centred on sample :math:`t h`: the signal is padded by half
a window of its reflection on both sides. Clips too short to be reflected are padded with zeros
first, so that signals of any length from one sample on are transformed and restored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["STFTConfig", "bandwidth_to_max_bin", "istft", "stft"]


@dataclass(frozen=True)
class STFTConfig:
    """Parameters of a short-time Fourier transform that has an inverse; ValueError for others."""

    n_fft: int = field(
        default=4096,
        metadata={"help": "STFT window length in samples", "option": "--nfft", "metavar": "N"},
    )
    n_hop: int = field(
        default=1024,
        metadata={"help": "STFT hop length in samples", "option": "--nhop", "metavar": "N"},
    )
    sample_rate: float = field(
        default=44100.0,
        metadata={"help": "Hz; files of other rates are resampled", "metavar": "N"},
    )

    def __post_init__(self) -> None:
        """Check the parameters."""
        # Otherwise samples at the end of some signals are in no frame, or where the window is 0.
        if not 0 < 2 * self.n_hop <= self.n_fft:
            raise ValueError(
                f"the STFT has a window of {self.n_fft} and a hop of {self.n_hop} samples, which "
                "must be positive and half the window at most"
            )
        if not 1 <= self.sample_rate <= 1e6 or self.sample_rate % 1:
            raise ValueError(
                f"the sample rate is {self.sample_rate} Hz, expected a whole number up to 1 MHz"
            )

    @property
    def bins(self) -> int:
        """Number of frequency bins, from 0 Hz to the Nyquist frequency."""
        return self.n_fft // 2 + 1


def hann_window(n_fft: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Periodic Hann window (n_fft,): 0 at its first sample and 1 in the middle."""
    return torch.hann_window(n_fft, periodic=True, dtype=dtype)


def stft(
    waveform: Tensor, n_fft: int, n_hop: int, window: Tensor | None = None, center: bool = True
) -> Tensor:
    """Short-time Fourier transform.

    Parameters
    ----------
    waveform : Tensor [shape=(..., samples)], real
        The signal; any number of leading axes, at least one sample. Numbers of 16 bits are
        transformed in float32.
    n_fft : int
        Window length in samples; 4096 samples are 93 ms at 44.1 kHz.
    n_hop : int
        Distance between frames in samples.
    window : Tensor [shape=(n_fft,)], optional
        The window, periodic Hann if not given.
    center : bool
        Whether frame ``t`` is centred on sample ``t * n_hop`` (by reflection at the ends).
        Otherwise it starts there.

    Returns
    -------
    Tensor [shape=(..., bins, frames)], complex
        The one-sided transform, ``bins = n_fft // 2 + 1``.

    Raises
    ------
    ValueError
        If the signal has no samples.

    Examples
    --------
    A cosine of period 8 lies in bin ``n_fft / 8``.

    >>> cosine = torch.cos(2 * torch.pi * torch.arange(256) / 8)
    >>> stft(cosine, n_fft=64, n_hop=16).abs().mean(dim=-1).argmax()
    tensor(8)
    """
    samples = waveform.shape[-1]
    if samples == 0:
        raise ValueError("the signal has no samples; give at least one")
    shortest = n_fft // 2 + 1 if center else n_fft
    signal = waveform.reshape(-1, samples)
    signal = signal.to(torch.promote_types(waveform.dtype, torch.float32))
    if samples < shortest:
        signal = functional.pad(signal, (0, shortest - samples))
    window = hann_window(n_fft, signal.dtype) if window is None else window
    spectrum = torch.stft(
        signal,
        n_fft,
        n_hop,
        window=window.to(signal),
        center=center,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def istft(
    spectrum: Tensor,
    n_fft: int,
    n_hop: int,
    window: Tensor | None = None,
    center: bool = True,
    length: int | None = None,
) -> Tensor:
    """Inverse of :func:`stft`, in the least-squares sense.

    Parameters
    ----------
    spectrum : Tensor [shape=(..., bins, frames)], complex
        A one-sided transform; any number of leading axes.
    n_fft, n_hop, window, center
        As in the forward transform.
    length : int, optional
        Samples to return; a signal as long as the frames allow if not given.

    Returns
    -------
    Tensor [shape=(..., samples)], real
        The signal.
    """
    window = hann_window(n_fft, spectrum.real.dtype) if window is None else window
    waveform = torch.istft(
        spectrum.reshape(-1, *spectrum.shape[-2:]),
        n_fft,
        n_hop,
        window=window.to(spectrum.real),
        center=center,
        length=length,
    )
    return waveform.reshape(*spectrum.shape[:-2], -1)


def magnitude(spectrum: Tensor) -> Tensor:
    """Magnitude of an STFT, in half the time of ``abs()``, which guards against overflow.

    Its gradient at zero is NaN, that of ``abs()`` is 0.
    """
    return (spectrum.real.square() + spectrum.imag.square()).sqrt()


def bandwidth_to_max_bin(rate: float, n_fft: int, bandwidth: float) -> int:
    """Return the number of bins that lie within a bandwidth.

    Parameters
    ----------
    rate : float
        Sample rate in Hz.
    n_fft : int
        Window length in samples.
    bandwidth : float
        Highest frequency in Hz, inclusive.

    Returns
    -------
    int
        The count of bins from 0 Hz to ``bandwidth``: 1487 for 16 kHz at 44.1 kHz and 4096.

    Examples
    --------
    >>> bandwidth_to_max_bin(44100, 4096, 16000)
    1487
    """
    bins = n_fft // 2 + 1
    return min(int(bandwidth * n_fft / rate) + 1, bins)
