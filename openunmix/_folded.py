r"""Networks folded for inference.

At inference every batch normalisation is an affine map, and so is the standardisation of the
input: each merges into the dense layer beside it. With the merged weights a network is

.. math:: c = \tanh(A_1 m + b_1), \quad h = \mathrm{BiLSTM}(c), \quad
    \hat m = m \odot \mathrm{relu}(A_3\, \mathrm{relu}(A_2 [c; h] + b_2) + b_3)

for the mixture's magnitude :math:`m`. Its three parts are offered separately, because only the
recurrent one needs neighbouring frames: :func:`FoldedNetworks.encode` and
:func:`FoldedNetworks.decode` work frame by frame.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from openunmix.model import OpenUnmix

__all__ = ["Affine", "FoldedNetworks"]


class Affine(NamedTuple):
    """A dense layer: weight (outputs, inputs) and bias (outputs,)."""

    weight: Tensor
    bias: Tensor


class FoldedNetworks:
    """Several :class:`~openunmix.model.OpenUnmix` networks that share their input, folded.

    Parameters
    ----------
    networks : sequence of OpenUnmix
        Networks in evaluation mode. They keep their recurrent layers, which are used in place.
    dtype : torch.dtype
        Precision of the matrix products; everything else is float32.
    """

    def __init__(self, networks: Sequence[OpenUnmix], dtype: torch.dtype = torch.float32) -> None:
        if any(network.training for network in networks):
            raise ValueError("networks must be in evaluation mode; call .eval() or .freeze() first")
        self.dtype = dtype
        self.networks = list(networks)
        self.bins = max(network.nb_bins for network in networks)
        encoders = [_fold_encoder(network, self.bins) for network in networks]
        self.encoder = _each([torch.cat(parts) for parts in zip(*encoders, strict=True)], dtype)
        self.recurrent = [_recurrent(network.lstm, dtype) for network in networks]
        self.mixers = [_each(_fold_mixer(network), dtype) for network in networks]
        self.decoders = [_each(_fold_decoder(network), dtype) for network in networks]

    def encode(self, magnitude: Tensor) -> list[Tensor]:
        """Code of each frame: (frames, channels, bins) to (frames, hidden), for each network."""
        seen = magnitude[..., : self.bins].to(self.dtype).flatten(1)
        codes = functional.linear(seen, *self.encoder).tanh_()
        return list(torch.split(codes, [network.hidden_size for network in self.networks], dim=1))

    def recur(self, index: int, codes: Tensor) -> Tensor:
        """Recurrent layers of one network: (frames, batch, hidden) to (frames, batch, hidden)."""
        context: Tensor = self.recurrent[index](codes)[0]
        return context

    def decode(
        self, index: int, code: Tensor, context: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Estimate of one network: two (frames, hidden) and (frames, channels, bins) to ``out``."""
        weight, bias = self.mixers[index]
        hidden = functional.linear(torch.cat([code, context], dim=-1), weight, bias).relu_()
        mask = functional.linear(hidden, *self.decoders[index]).relu_()
        torch.mul(mask.reshape(magnitude.shape), magnitude, out=out)


def _normalisation(layer: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and offset (features,) that a batch normalisation applies at inference."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    return scale, layer.bias - scale * layer.running_mean


def _fold_encoder(network: OpenUnmix, bins: int) -> Affine:
    """First dense layer, with the standardisation before and the normalisation after it.

    Its input has ``bins`` bins; those that the network does not see get a weight of zero.
    """
    scale, offset = _normalisation(network.bn1)
    channels = network.nb_channels
    gain, shift = network.input_scale.repeat(channels), network.input_mean.repeat(channels)
    weight = network.fc1.weight * gain
    folded = (scale[:, None] * weight).reshape(-1, channels, network.nb_bins)
    folded = functional.pad(folded, (0, bins - network.nb_bins)).flatten(1)
    return Affine(folded, scale * (weight @ shift) + offset)


def _fold_mixer(network: OpenUnmix) -> Affine:
    """Second dense layer, with the normalisation after it."""
    scale, offset = _normalisation(network.bn2)
    return Affine(scale[:, None] * network.fc2.weight, offset)


def _fold_decoder(network: OpenUnmix) -> Affine:
    """Third dense layer, with the normalisation and the output's scale and mean after it."""
    scale, offset = _normalisation(network.bn3)
    gain = network.output_scale.repeat(network.nb_channels)
    shift = network.output_mean.repeat(network.nb_channels)
    return Affine((gain * scale)[:, None] * network.fc3.weight, gain * offset + shift)


def _each(tensors: Iterable[Tensor], dtype: torch.dtype) -> Affine:
    """Cast and detach a layer."""
    weight, bias = (tensor.detach().to(dtype) for tensor in tensors)
    return Affine(weight.contiguous(), bias.contiguous())


def _recurrent(lstm: nn.LSTM, dtype: torch.dtype) -> nn.LSTM:
    """Return the recurrent layers themselves, or a copy in another precision."""
    if lstm.weight_ih_l0.dtype == dtype:
        return lstm
    return copy.deepcopy(lstm).to(dtype=dtype).requires_grad_(False)
