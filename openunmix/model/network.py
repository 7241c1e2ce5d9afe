"""The network of Open-Unmix, in the order of the paper."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from openunmix.model.architecture import NETWORKS, SMALLEST, Architecture, MaskNetwork
from openunmix.transforms.fourier import STFTConfig, bandwidth_to_max_bin


class OpenUnmix(MaskNetwork):
    r"""Network that estimates the magnitude spectrogram of one target.

    Parameters
    ----------
    nb_bins : int
        Frequency bins of the spectrogram, ``n_fft // 2 + 1``.
    nb_channels : int
        Audio channels.
    hidden_size : int
        Features of a frame, and width of the LSTM; even, unless ``unidirectional``.
    nb_layers : int
        Number of stacked LSTM layers.
    unidirectional : bool
        Use past frames only, as a causal system must.
    input_mean, input_scale : array of shape (nb_bins,), optional
        Mean and standard deviation of the training mixtures per bin; 0 and 1 if not given.
    max_bin : int, optional
        The input is cropped to the bins below this one; all ``nb_bins`` if not given. The mask
        covers all bins in any case.
    dropout : float
        Dropout probability between LSTM layers.
    compression : float
        Exponent :math:`p` of the power-law compression :math:`|X|^p` of the input; 1, none, in
        openunmix 1.3.0. With :math:`p = 0.25`, 12 dB become 3 dB: quiet bins count nearly as much
        as loud ones. The mask multiplies the magnitudes themselves in any case.
    """

    trunk_layers = ("fc1", "bn1", "lstm", "input_mean", "input_scale", "compression")
    settings = ("compression",)

    #: Saved with the weights, which mean nothing without it; None for 1, as 1.3.0 has no such key.
    compression: Tensor | None

    def __init__(
        self,
        nb_bins: int = 4096,
        nb_channels: int = 2,
        hidden_size: int = 512,
        nb_layers: int = 3,
        unidirectional: bool = False,
        input_mean: np.ndarray | Tensor | None = None,
        input_scale: np.ndarray | Tensor | None = None,
        max_bin: int | None = None,
        dropout: float = 0.4,
        compression: float = 1.0,
    ) -> None:
        architecture = Architecture(
            hidden_size, nb_layers, unidirectional, dropout=dropout, compression=compression
        )
        super().__init__(architecture, nb_bins, nb_channels)
        self.nb_bins = max_bin if max_bin else nb_bins
        self.hidden_size = hidden_size
        self.nb_layers = nb_layers
        self.unidirectional = unidirectional

        self.fc1 = nn.Linear(self.nb_bins * nb_channels, hidden_size, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden_size)
        width = hidden_size if unidirectional else hidden_size // 2
        between = dropout if nb_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            hidden_size, width, nb_layers, dropout=between, bidirectional=not unidirectional
        )
        self.fc2 = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.bn2 = nn.BatchNorm1d(hidden_size)
        self.fc3 = nn.Linear(hidden_size, nb_bins * nb_channels, bias=False)
        self.bn3 = nn.BatchNorm1d(nb_bins * nb_channels)

        # Stored as in 1.3.0: the mean with the opposite sign, the scale as its inverse.
        self.input_mean = nn.Parameter(torch.zeros(self.nb_bins))
        self.input_scale = nn.Parameter(torch.ones(self.nb_bins))
        if input_mean is not None:
            self.input_mean.data = -_statistic(input_mean, self.nb_bins, "input_mean")
        if input_scale is not None:
            self.input_scale.data = 1.0 / _statistic(input_scale, self.nb_bins, "input_scale")
        self.output_scale = nn.Parameter(torch.ones(nb_bins))
        self.output_mean = nn.Parameter(torch.ones(nb_bins))
        power = None if compression == 1 else torch.tensor(compression, dtype=torch.float32)
        self.register_buffer("compression", power)

    def mask(self, magnitude: Tensor) -> Tensor:  # noqa: D102 - documented in MaskNetwork
        channels, bins = magnitude.shape[2:]
        if (channels, bins) != (self.nb_channels, self.nb_output_bins):
            raise ValueError(
                f"the input has channels={channels} and bins={bins}, but this network was made for "
                f"channels={self.nb_channels} and bins={self.nb_output_bins}"
            )
        return super().mask(magnitude)

    def encode(self, magnitude: Tensor) -> Tensor:
        """Features of each frame: (frames, batch, channels, bins) to (frames, batch, hidden)."""
        frames, batch = magnitude.shape[:2]
        x = self.compress(magnitude[..., : self.nb_bins]).to(self.input_mean.dtype)
        x = self._fc1_of_normalised(x.reshape(frames * batch, -1))
        x = torch.tanh(self.bn1(x))
        return x.reshape(frames, batch, self.hidden_size)

    def recur(self, features: Tensor) -> Tensor:
        """Hidden states (frames, batch, hidden) of the LSTM."""
        hidden: Tensor = self.lstm(features)[0]
        return hidden

    def decode(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Mask of each frame, (frames, batch, channels, bins).

        ``features`` and ``hidden`` (frames, batch, hidden) are what :meth:`encode` and
        :meth:`recur` returned.
        """
        frames, batch, _ = features.shape
        x = torch.cat([features, hidden], dim=-1)  # the skip connection
        x = torch.relu(self.bn2(self.fc2(x.reshape(frames * batch, -1))))
        x = torch.relu(self._scaled_bn3(self.fc3(x)))
        return x.reshape(frames, batch, self.nb_channels, self.nb_output_bins)

    # For speed, the affine maps of each bin are applied to the weights: that costs nothing per
    # frame, in the forward pass as in the gradient.

    def _fc1_of_normalised(self, x: Tensor) -> Tensor:
        """``fc1((x + input_mean) * input_scale)``, (frames, inputs) to (frames, hidden)."""
        if not isinstance(self.fc1, nn.Linear):  # replaced, as by torch.ao.quantization
            x = (x.unflatten(1, (self.nb_channels, -1)) + self.input_mean) * self.input_scale
            features: Tensor = self.fc1(x.flatten(1))
            return features
        # W ((x + m) s) = (W s) x + (W s) m
        weight = self.fc1.weight.reshape(self.hidden_size, self.nb_channels, self.nb_bins)
        weight = weight * self.input_scale
        bias = (weight * self.input_mean).sum(dim=(1, 2))
        return functional.linear(x, weight.flatten(1), bias)

    def _scaled_bn3(self, x: Tensor) -> Tensor:
        """``bn3(x) * output_scale + output_mean``, (frames, outputs) to the same."""
        # (g x + b) s + m = (g s) x + (b s + m)
        scale = self.output_scale.repeat(self.nb_channels)
        mean = self.output_mean.repeat(self.nb_channels)
        bn3, weight, bias = self.bn3, self.bn3.weight * scale, self.bn3.bias * scale + mean
        if not bn3.training:
            return functional.batch_norm(
                x, bn3.running_mean, bn3.running_var, weight, bias, eps=bn3.eps
            )
        scaled: Tensor = torch.func.functional_call(bn3, {"weight": weight, "bias": bias}, x)
        return scaled

    # Additions to the paper, and what loader and trainer need.

    def compress(self, magnitude: Tensor) -> Tensor:  # noqa: D102
        power = self.compression
        return magnitude if power is None else magnitude.clamp(min=SMALLEST).pow(power)

    def set_input_statistics(self, mean: Tensor, scale: Tensor) -> None:  # noqa: D102
        with torch.no_grad():
            self.input_mean.copy_(-mean[: self.nb_bins])
            self.input_scale.copy_(1 / scale[: self.nb_bins])

    @classmethod
    def from_architecture(  # noqa: D102
        cls, architecture: Architecture, stft: STFTConfig, nb_channels: int = 2
    ) -> OpenUnmix:
        max_bin = None
        if architecture.bandwidth:
            max_bin = bandwidth_to_max_bin(stft.sample_rate, stft.n_fft, architecture.bandwidth)
        network = cls(
            nb_bins=stft.bins,
            nb_channels=nb_channels,
            hidden_size=architecture.hidden_size,
            nb_layers=architecture.nb_layers,
            unidirectional=architecture.unidirectional,
            max_bin=max_bin,
            dropout=architecture.dropout,
            compression=architecture.compression,
        )
        network.architecture = architecture
        return network


NETWORKS[Architecture.name] = OpenUnmix


def _statistic(values: np.ndarray | Tensor, bins: int, name: str) -> Tensor:
    """Return per-bin statistics as a new float32 tensor of shape (bins,).

    Nothing is computed for a network without statistics: on the meta device, where the loader
    builds networks, the simplest sum would load all of torch's compiler.
    """
    statistic = torch.as_tensor(values, dtype=torch.float32)[:bins].clone()
    if statistic.shape != (bins,):
        raise ValueError(f"{name} has shape {tuple(statistic.shape)}, expected at least ({bins},)")
    return statistic
