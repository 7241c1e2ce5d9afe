"""Filterbanks as modules, on pairs of real and imaginary part: the interface of openunmix 1.3.0.

STFTs have the axes (..., channels, bins, frames, 2). The transforms themselves, on complex
tensors, are in :mod:`openunmix.transforms.fourier`.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from openunmix.errors import MissingExtraError
from openunmix.transforms.fourier import hann_window, istft, stft
from openunmix.transforms.settings import ExactSettings

__all__ = [
    "AsteroidISTFT",
    "AsteroidSTFT",
    "ComplexNorm",
    "TorchISTFT",
    "TorchSTFT",
    "make_filterbanks",
]


def make_filterbanks(
    n_fft: int = 4096,
    n_hop: int = 1024,
    center: bool = False,
    sample_rate: float = 44100.0,
    method: str = "torch",
) -> tuple[nn.Module, nn.Module]:
    """Return a short-time Fourier transform and its inverse.

    Parameters
    ----------
    n_fft, n_hop, center
        As for :func:`~openunmix.transforms.fourier.stft`.
    sample_rate : float
        Sample rate in Hz. It changes no result.
    method : {"torch", "asteroid"}
        FFT, or convolution with the filters of the package asteroid-filterbanks, which can be
        exported to other runtimes.

    Returns
    -------
    encoder, decoder : nn.Module
        The transform and its inverse.

    Raises
    ------
    ValueError
        If ``method`` is unknown.
    MissingExtraError
        If asteroid-filterbanks is asked for but not installed.

    Examples
    --------
    >>> encoder, decoder = make_filterbanks(n_fft=64, n_hop=16, center=True)
    >>> waveform = torch.randn(2, 100)
    >>> torch.allclose(decoder(encoder(waveform), length=100), waveform, atol=1e-6)
    True
    """
    if method == "torch":
        return (
            TorchSTFT(n_fft=n_fft, n_hop=n_hop, center=center),
            TorchISTFT(n_fft=n_fft, n_hop=n_hop, center=center, sample_rate=sample_rate),
        )
    if method == "asteroid":
        filterbank = _asteroid("torch_stft_fb").TorchSTFTFB.from_torch_args(
            n_fft=n_fft,
            hop_length=n_hop,
            win_length=n_fft,
            window=hann_window(n_fft),
            center=center,
            sample_rate=sample_rate,
        )
        return AsteroidSTFT(filterbank), AsteroidISTFT(filterbank)
    raise ValueError(f"method is {method!r}; give 'torch' or 'asteroid'")


class _TorchFilterbank(ExactSettings):
    """Parameters and window of a transform, in both directions."""

    settings = ("window",)

    def __init__(
        self,
        n_fft: int = 4096,
        n_hop: int = 1024,
        center: bool = False,
        window: Tensor | None = None,
    ) -> None:
        super().__init__()
        window = hann_window(n_fft) if window is None else window
        self.window = nn.Parameter(window, requires_grad=False)
        self.n_fft = n_fft
        self.n_hop = n_hop
        self.center = center


class TorchSTFT(_TorchFilterbank):
    """Short-time Fourier transform as a module.

    Parameters
    ----------
    n_fft, n_hop, center
        As for :func:`~openunmix.transforms.fourier.stft`.
    window : nn.Parameter [shape=(n_fft,)], optional
        The window, periodic Hann by default; part of the state dict, not trained.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., channels, samples) to pairs (..., channels, bins, frames, 2)."""
        return torch.view_as_real(stft(x, self.n_fft, self.n_hop, self.window, self.center))


class TorchISTFT(_TorchFilterbank):
    """Inverse of :class:`TorchSTFT`.

    Parameters
    ----------
    n_fft, n_hop, center
        As in the forward transform.
    sample_rate : float
        Sample rate in Hz, kept as an attribute.
    window : nn.Parameter [shape=(n_fft,)], optional
        As in the forward transform.
    """

    def __init__(
        self,
        n_fft: int = 4096,
        n_hop: int = 1024,
        center: bool = False,
        sample_rate: float = 44100.0,
        window: Tensor | None = None,
    ) -> None:
        super().__init__(n_fft, n_hop, center, window)
        self.sample_rate = sample_rate

    def forward(self, X: Tensor, length: int | None = None) -> Tensor:
        """Transform pairs (..., channels, bins, frames, 2) to (..., channels, samples).

        ``length`` is the number of samples; all that the frames cover by default.
        """
        return istft(_as_complex(X), self.n_fft, self.n_hop, self.window, self.center, length)


class AsteroidSTFT(nn.Module):
    """Short-time Fourier transform by the filters of asteroid-filterbanks.

    Parameters
    ----------
    fb : asteroid_filterbanks.torch_stft_fb.TorchSTFTFB
        The filterbank.
    """

    def __init__(self, fb: Any) -> None:
        super().__init__()
        self.enc = _asteroid("enc_dec").Encoder(fb, as_conv1d=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - as TorchSTFT
        fb = self.enc.filterbank
        shortest = fb.kernel_size // 2 + 1 if fb.center else fb.kernel_size
        signal = functional.pad(x, (0, max(0, shortest - x.shape[-1])))
        # The real parts of all bins come before the imaginary ones.
        return torch.stack(self.enc(signal).chunk(2, dim=-2), dim=-1)


class AsteroidISTFT(nn.Module):
    """Inverse of :class:`AsteroidSTFT`.

    Parameters
    ----------
    fb : asteroid_filterbanks.torch_stft_fb.TorchSTFTFB
        The filterbank of the forward transform.
    """

    def __init__(self, fb: Any) -> None:
        super().__init__()
        self.dec = _asteroid("enc_dec").Decoder(fb)

    def forward(self, X: Tensor, length: int | None = None) -> Tensor:  # noqa: D102 - as TorchISTFT
        waveform: Tensor = self.dec(torch.cat(X.unbind(dim=-1), dim=-2), length=length)
        return waveform


class ComplexNorm(nn.Module):
    """Magnitude of an STFT.

    Parameters
    ----------
    mono : bool
        Average the magnitudes over channels.

    Examples
    --------
    >>> ComplexNorm()(torch.tensor([[[[3.0, 4.0]]]]))
    tensor([[[5.]]])
    """

    def __init__(self, mono: bool = False) -> None:
        super().__init__()
        self.mono = mono

    def forward(self, spec: Tensor) -> Tensor:
        """Magnitude (..., channels, bins, frames) of pairs (..., channels, bins, frames, 2)."""
        magnitudes = _as_complex(spec).abs()
        return magnitudes.mean(dim=-3, keepdim=True) if self.mono else magnitudes


def _as_complex(pairs: Tensor) -> Tensor:
    """View pairs (..., 2) as complex numbers (...), or copy if the memory layout requires it."""
    *strides, last = pairs.stride()
    if last == 1 and not any(stride % 2 for stride in [*strides, pairs.storage_offset()]):
        return torch.view_as_complex(pairs)
    return torch.complex(pairs[..., 0], pairs[..., 1])


def _asteroid(module: str) -> Any:
    """Import a module of the optional package asteroid-filterbanks."""
    try:
        return importlib.import_module(f"asteroid_filterbanks.{module}")
    except ImportError as error:
        raise MissingExtraError(
            "the filterbank 'asteroid' needs the package asteroid-filterbanks, which is not "
            "installed; install openunmix[asteroid], or choose the filterbank 'torch'"
        ) from error
