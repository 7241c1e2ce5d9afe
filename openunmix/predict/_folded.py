r"""Networks folded for inference.

At inference every batch normalisation is an affine map, and so is the standardisation of the
input: each merges into the dense layer beside it. With the merged weights a network is

.. math:: c = \tanh(A_1 m^p + b_1), \quad h = \mathrm{BiLSTM}(c), \quad
    \hat m = m \odot \mathrm{relu}(A_3\, \mathrm{relu}(A_2 [c; h] + b_2) + b_3)

for the mixture's magnitude :math:`m` and the power :math:`p` of the network's input. Its three
parts are offered separately, because only the recurrent one needs other frames:
:func:`FoldedNetworks.encode` and :func:`FoldedNetworks.decode` work frame by frame.
:func:`FoldedNetworks.recur` goes on forwards where it was, so that it has seen all of the past;
backwards it begins a little later in the signal than the frames that are wanted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from openunmix.model import OpenUnmix

__all__ = ["Affine", "FoldedNetworks", "State", "run_layer"]

#: Output and cell (1, hidden) of a layer at its last frame.
State: TypeAlias = tuple[Tensor, Tensor]

# More sequences take more frames than they save time.
_SEQUENCES = 4
# Frames by which sequences begin early, and the last of them, in which outputs are compared.
_WARMUP = 256
_COMPARED = 128
# Largest difference of outputs, which are between -1 and 1, that counts as agreement; in bfloat16
# some steps of its rounding do.
_TOLERANCE = 3e-4
_STEPS = 4


def run_layer(
    layer: nn.LSTM, frames: Tensor, state: State | None = None, exact: bool = False
) -> tuple[Tensor, State]:
    """Run a layer over frames.

    Parameters
    ----------
    layer : nn.LSTM
        One layer of one direction.
    frames : Tensor [shape=(frames, features)], real
        What it is given.
    state : State, optional
        Of the layer before the first frame.
    exact : bool
        Whether to compute one sequence; a few frames are in any case.

    Returns
    -------
    output : Tensor [shape=(frames, hidden)], real
        The output at every frame.
    state : State
        The state after the last frame.
    """
    count = len(frames)
    if exact or count < 2 * _SEQUENCES * _WARMUP:
        return layer(frames, state)  # type: ignore[no-any-return]
    length = -(-(count + (_SEQUENCES - 1) * _WARMUP) // _SEQUENCES)
    starts = [min(i * (length - _WARMUP), count - length) for i in range(_SEQUENCES)]
    batch = torch.stack([frames[start : start + length] for start in starts], dim=1)
    begin = frames.new_zeros(2, 1, _SEQUENCES, layer.hidden_size)
    if state is not None:
        begin[:, :, 0] = torch.stack(state)
    output, after = layer(batch, tuple(begin))
    del batch  # memory counts here
    output, states = output.transpose(0, 1), torch.stack(after).unbind(dim=2)

    joined, known, before = [output[0]], output[0], states[0]
    for start, end, guess, guessed in zip(starts[1:], starts, output[1:], states[1:], strict=False):
        own = end + length - start  # the first frame that the sequence before has not
        following = frames[start + own : start + length]
        redone, state_then = _redo(layer, following, before, known, guess, own)
        joined += [redone, guess[own + len(redone) :]]
        known = torch.cat(joined[-2:])[-_COMPARED:]
        before = guessed if state_then is None else state_then
    return torch.cat(joined), (before[0], before[1])


def _redo(
    layer: nn.LSTM, frames: Tensor, before: Tensor, known: Tensor, guess: Tensor, own: int
) -> tuple[Tensor, Tensor | None]:
    """Go on from a true state until a guess is true: outputs till then, the state at the end."""
    tolerance = max(_TOLERANCE, _STEPS * torch.finfo(frames.dtype).eps)
    done: list[Tensor] = []
    for chunk in torch.split(frames, _WARMUP):
        arrived = own + sum(map(len, done))
        seen = min(_COMPARED, len(known), arrived)
        difference = known[-seen:] - guess[arrived - seen : arrived]
        if float(difference.abs().max()) < tolerance:
            return torch.cat([known[:0], *done]), None
        known, after = layer(chunk, tuple(before))
        before = torch.stack(after)
        done.append(known)
    return torch.cat([known[:0], *done]), before


class Affine(NamedTuple):
    """A dense layer: weight (outputs, inputs) and bias (outputs,)."""

    weight: Tensor
    bias: Tensor


class FoldedNetworks:
    """Several :class:`~openunmix.model.OpenUnmix` networks that share their input, folded.

    What they share beyond that, see :func:`openunmix.model.share`, is there once.

    Parameters
    ----------
    networks : sequence of OpenUnmix
        Networks in evaluation mode. They keep their recurrent layers, which are used in place.
    dtype : torch.dtype
        Precision of the matrix products; everything else is float32.
    bridged : bool
        Whether they share their codes, see :func:`openunmix.model.masks`.
    exact : bool
        Whether recurrent layers are exact to rounding, see
        :func:`~openunmix.predict._folded.run_layer`.
    """

    def __init__(
        self,
        networks: Sequence[OpenUnmix],
        dtype: torch.dtype = torch.float32,
        bridged: bool = False,
        exact: bool = False,
    ) -> None:
        if any(network.training for network in networks):
            raise ValueError("networks must be in evaluation mode; call .eval() or .freeze() first")
        self.dtype = dtype
        self.bridged = bridged
        self.exact = exact
        trunks = {network.trunk: network for network in networks}
        self.contexts = [list(trunks).index(network.trunk) for network in networks]
        self.trunks = list(trunks.values())
        self.bins = max(network.nb_bins for network in networks)
        groups: dict[float, list[int]] = {}  # trunks by compression of their input
        for index, network in enumerate(self.trunks):
            groups.setdefault(network.architecture.compression, []).append(index)
        encoders = [_fold_encoder(network, self.bins) for network in self.trunks]
        self.encoders = [
            (group, _each(map(torch.cat, zip(*(encoders[i] for i in group), strict=True)), dtype))
            for group in groups.values()
        ]
        self.recurrent = [_layers(network.lstm, dtype) for network in self.trunks]
        self.mixers = [_each(_fold_mixer(network), dtype) for network in networks]
        self.decoders = [_each(_fold_decoder(network), dtype) for network in networks]

    def encode(self, magnitude: Tensor) -> Tensor:
        """Features of all trunks, or their mean: (frames, channels, bins) to (frames, hidden)."""
        bins = magnitude[..., : self.bins]
        own: dict[int, Tensor] = {}
        for group, encoder in self.encoders:
            seen = self.trunks[group[0]].compress(bins).to(self.dtype).flatten(1)
            sizes = [self.trunks[index].hidden_size for index in group]
            joined = functional.linear(seen, *encoder)
            own.update(zip(group, torch.split(joined, sizes, dim=1), strict=True))
        codes = torch.cat([own[index] for index in range(len(own))], dim=1).tanh_()
        return codes.reshape(len(codes), len(own), -1).mean(dim=1) if self.bridged else codes

    def _own(self, trunk: int, codes: Tensor) -> Tensor:
        """Features of one trunk: (frames, hidden sizes) to (frames, hidden)."""
        if self.bridged:
            return codes
        return torch.split(codes, [network.hidden_size for network in self.trunks], dim=1)[trunk]

    def recur(
        self, index: int, codes: Tensor, frames: int, states: list[State] | None
    ) -> tuple[Tensor, list[State]]:
        """Recurrent layers of one trunk: (frames + later ones, codes) to (frames, hidden)."""
        after = []
        codes = self._own(index, codes)
        for number, (forward, *backward) in enumerate(self.recurrent[index]):
            before = states[number] if states else None
            outputs, state = run_layer(forward, codes[:frames], before, self.exact)
            after.append(state)
            if len(codes) > frames:
                later, _ = run_layer(forward, codes[frames:], state, self.exact)
                outputs = torch.cat([outputs, later])
            for layer in backward:
                reverse, _ = run_layer(layer, codes.flip(0), exact=self.exact)
                outputs = torch.cat([outputs, reverse.flip(0)], dim=-1)
            codes = outputs
        return codes[:frames], after

    def decode(
        self, index: int, codes: Tensor, context: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Estimate of one network, from codes, context and magnitude, written to ``out``."""
        joined = torch.cat([self._own(self.contexts[index], codes), context], dim=-1)
        hidden = functional.linear(joined, *self.mixers[index]).relu_()
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


def _layers(lstm: nn.LSTM, dtype: torch.dtype) -> list[list[nn.LSTM]]:
    """Take recurrent layers apart: for each of them, one that runs forwards and one backwards."""
    directions = ["", "_reverse"] if lstm.bidirectional else [""]
    return [
        [_layer(lstm, f"_l{number}{direction}", dtype) for direction in directions]
        for number in range(lstm.num_layers)
    ]


def _layer(lstm: nn.LSTM, suffix: str, dtype: torch.dtype) -> nn.LSTM:
    """Return one direction of a layer, on the CPU with the very weights of the network."""
    weights = {
        name: getattr(lstm, name + suffix).detach().to(dtype)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    features = weights["weight_ih"].shape[1]
    layer = nn.LSTM(features, lstm.hidden_size, device="meta", dtype=dtype)
    for name, weight in weights.items():
        setattr(layer, f"{name}_l0", nn.Parameter(weight, requires_grad=False))
    if lstm.weight_ih_l0.is_cuda:  # cuDNN wants weights that lie one after the other: copies
        layer = copy.deepcopy(layer)
        layer.flatten_parameters()
    return layer
