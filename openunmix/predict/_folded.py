r"""OpenUnmix networks for inference, with the normalisations folded into the dense layers.

At inference a batch normalisation is an affine map, as is the normalisation of the input: each
merges into the dense layer beside it. With the merged weights a network is

.. math:: c = \tanh(A_1 m^p + b_1), \quad h = \mathrm{BiLSTM}(c), \quad
    \hat m = m \odot \mathrm{relu}(A_3\, \mathrm{relu}(A_2 [c; h] + b_2) + b_3)

for the magnitude :math:`m` of the mixture and the compression :math:`p`. The features :math:`c`
and the estimate are computed frame by frame. Only the LSTM depends on other frames: its forward
layers carry their state from chunk to chunk, its backward layers start ``lookahead`` frames after
the chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from openunmix.model import OpenUnmix
from openunmix.predict._folding import fold_decoder, fold_encoder, fold_mixer
from openunmix.predict._recurrent import State, run_directions, split_lstm
from openunmix.predict._runtime import SEQUENTIAL, Tasks


class Affine(NamedTuple):
    """A dense layer: weight (outputs, inputs) and bias (outputs,)."""

    weight: Tensor
    bias: Tensor


class FoldedNetworks:
    """Folded networks of several targets; a trunk that they share is computed once.

    ``dtype`` is that of the matrix products, everything else is float32. ``bridged`` networks see
    the mean of all features, see :func:`openunmix.model.sharing.masks`; ``exact`` as for
    :func:`run_layer`.
    """

    stride = 1  #: Frames that a chunk must have multiples of.

    def __init__(
        self,
        networks: Sequence[OpenUnmix],
        dtype: torch.dtype = torch.float32,
        bridged: bool = False,
        exact: bool = False,
    ) -> None:
        self.dtype = dtype
        self.bridged = bridged
        self.exact = exact
        #: Whether later frames change nothing.
        self.causal = all(network.unidirectional for network in networks)
        trunks = {network.trunk: network for network in networks}
        self.trunk_of = [list(trunks).index(network.trunk) for network in networks]
        self.trunks = list(trunks.values())
        self.bins = max(network.nb_bins for network in networks)  # widest bandwidth of the inputs
        # Trunks of equal compression have equal inputs: one matrix product computes them all.
        groups: dict[float, list[int]] = {}
        for index, network in enumerate(self.trunks):
            groups.setdefault(network.architecture.compression, []).append(index)
        # A_1 and b_1 by trunk, stacked along the outputs of each group
        encoders = [_fold_encoder(network, self.bins) for network in self.trunks]
        self.encoders = [
            (group, _cast(map(torch.cat, zip(*(encoders[i] for i in group), strict=True)), dtype))
            for group in groups.values()
        ]
        self.recurrent = [split_lstm(network.lstm, dtype) for network in self.trunks]
        self.mixers = [_cast(_fold_mixer(network), dtype) for network in networks]
        self.decoders = [_cast(_fold_decoder(network), dtype) for network in networks]

    def encode(self, magnitude: Tensor) -> Tensor:
        """Features c of all trunks: (frames, channels, bins) to (frames, sum of hidden sizes).

        Bridged trunks have their mean in common, (frames, hidden).
        """
        cropped = magnitude[..., : self.bins]
        by_trunk: dict[int, Tensor] = {}
        for group, encoder in self.encoders:
            # A_1 m^p + b_1 of all trunks in the group, side by side
            compressed = self.trunks[group[0]].compress(cropped).to(self.dtype).flatten(1)
            sizes = [self.trunks[index].hidden_size for index in group]
            joined = functional.linear(compressed, *encoder)
            by_trunk.update(zip(group, torch.split(joined, sizes, dim=1), strict=True))
        # back in the order of the trunks
        features = torch.cat([by_trunk[index] for index in range(len(by_trunk))], dim=1).tanh_()
        if self.bridged:
            return features.reshape(len(features), len(by_trunk), -1).mean(dim=1)
        return features

    def _features_of(self, trunk: int, features: Tensor) -> Tensor:
        """Features of one trunk: (frames, sum of hidden sizes) to (frames, hidden)."""
        if self.bridged:
            return features
        sizes = [network.hidden_size for network in self.trunks]
        return torch.split(features, sizes, dim=1)[trunk]

    def run_recurrent(
        self,
        trunk: int,
        features: Tensor,
        frames: int,
        states: list[State] | None,
        tasks: Tasks = SEQUENTIAL,
    ) -> tuple[Tensor, list[State]]:
        """Output h of a trunk's LSTM: (frames + lookahead, features) to (frames, hidden).

        Takes the states of the forward layers before the first frame; returns those after the last
        of ``frames``.
        """
        after = []
        x = self._features_of(trunk, features)
        for number, directions in enumerate(self.recurrent[trunk]):
            before = states[number] if states else None
            x, state = run_directions(directions, x, frames, before, self.exact, tasks)
            after.append(state)
        return x[:frames], after

    def decode(
        self, network: int, features: Tensor, hidden: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Write the estimate of a network, (frames, channels, bins), to ``out``."""
        x = torch.cat([self._features_of(self.trunk_of[network], features), hidden], dim=-1)
        x = functional.linear(x, *self.mixers[network]).relu_()  # relu(A_2 [c; h] + b_2)
        mask = functional.linear(x, *self.decoders[network]).relu_()  # relu(A_3 x + b_3)
        torch.mul(mask.reshape(magnitude.shape), magnitude, out=out)  # in float32 again


def _fold_encoder(network: OpenUnmix, bins: int) -> Affine:
    """A_1 and b_1 for an input of ``bins`` bins; those the network does not see weigh zero."""
    channels = network.nb_channels
    rows, columns, bias = fold_encoder(network.state_dict(), channels)
    weight = network.fc1.weight.detach().reshape(-1, channels, network.nb_bins)
    folded = rows[:, None, None] * weight * columns
    return Affine(functional.pad(folded, (0, bins - network.nb_bins)).flatten(1), bias)


def _fold_mixer(network: OpenUnmix) -> Affine:
    """A_2 and b_2."""
    rows, bias = fold_mixer(network.state_dict())
    return Affine(rows[:, None] * network.fc2.weight, bias)


def _fold_decoder(network: OpenUnmix) -> Affine:
    """A_3 and b_3."""
    rows, bias = fold_decoder(network.state_dict(), network.nb_channels)
    return Affine(rows[:, None] * network.fc3.weight, bias)


def _cast(tensors: Iterable[Tensor], dtype: torch.dtype) -> Affine:
    """Detach weight and bias and convert them to a number format."""
    weight, bias = (tensor.detach().to(dtype) for tensor in tensors)
    return Affine(weight.contiguous(), bias.contiguous())
