"""The networks of the package as graphs, from the modules that inference uses.

Both kinds have the interface that :mod:`openunmix.predict._networks` describes: features of single
frames, recurrent layers, a mask per target. A frame is (channels, bins) of magnitudes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from openunmix.model.architecture import SMALLEST
from openunmix.model.bands import BandUnmix, PerBand, Recurrent
from openunmix.predict._bands import BandNetworks
from openunmix.predict._folded import FoldedNetworks
from openunmix.predict._recurrent import split_lstm
from openunmix.predict.export.graph import Graph


def add_folded(graph: Graph, networks: FoldedNetworks, x: str, chunk: str) -> list[str]:
    """Add OpenUnmix networks, (frames, channels, bins) to masks (1, frames, channels, bins)."""
    channels, bins = networks.trunks[0].nb_channels, networks.trunks[0].nb_output_bins
    x = graph.part(x, 2, 0, networks.bins)
    features: dict[int, str] = {}
    for group, encoder in networks.encoders:
        compressed = add_compression(graph, x, networks.trunks[group[0]].architecture.compression)
        flat = graph.reshape(compressed, 0, channels * networks.bins)
        joined = graph.add("Tanh", graph.affine(flat, encoder.weight.T, encoder.bias))
        start = 0
        for index in group:
            stop = start + networks.trunks[index].hidden_size
            features[index], start = graph.part(joined, 1, start, stop), stop
    if networks.bridged:
        features = dict.fromkeys(features, graph.add("Mean", *features.values()))
    hidden = {}
    for index, layers in enumerate(networks.recurrent):
        steps = graph.reshape(features[index], 0, 1, -1)  # one item
        outputs = add_layers(graph, steps, layers, index, 1, chunk)
        hidden[index] = graph.reshape(outputs, 0, -1)
    if networks.bridged:
        hidden = dict.fromkeys(hidden, graph.add("Mean", *hidden.values()))
    masks = []
    for index, mixer, decoder in zip(
        networks.trunk_of, networks.mixers, networks.decoders, strict=True
    ):
        both = graph.add("Concat", features[index], hidden[index], axis=1)
        inner = graph.add("Relu", graph.affine(both, mixer.weight.T, mixer.bias))
        mask = graph.add("Relu", graph.affine(inner, decoder.weight.T, decoder.bias))
        masks.append(graph.reshape(mask, 1, -1, channels, bins))
    return masks


def add_layers(
    graph: Graph, x: str, layers: Sequence[Sequence[nn.LSTM]], trunk: int, items: int, chunk: str
) -> str:
    """Add stacked LSTM layers, (frames, items, features) to (frames, items, outputs)."""
    state = States(graph, trunk, len(layers), items, layers[0][0].hidden_size)
    for number, directions in enumerate(layers):
        x = state.run(number, x, directions, chunk)
    state.finish()
    return x


class States:
    """States of a trunk's forward layers as an input and an output: (layers, 2, items, width)."""

    def __init__(self, graph: Graph, trunk: int, layers: int, items: int, width: int) -> None:
        self.graph, self.name, self.items = graph, f"state_{trunk}", items
        self.shape = (layers, 2, items, width)
        self.before = graph.input(self.name, self.shape, np.zeros(self.shape, np.float32))
        self.after: list[str] = []

    def run(self, number: int, x: str, directions: Sequence[nn.LSTM], chunk: str) -> str:
        """Add layer ``number``: (frames, items, features) to (frames, items, outputs)."""
        graph, shape = self.graph, (1, self.items, self.shape[3])
        layer = graph.part(self.before, 0, number, number + 1)
        state = [graph.reshape(graph.part(layer, 1, i, i + 1), *shape) for i in (0, 1)]
        outputs, *after = graph.recurrent(x, directions, self.items, (state[0], state[1]), chunk)
        self.after += after
        return outputs

    def finish(self) -> None:
        """Declare the states after the chunk as an output."""
        joined = self.graph.add("Concat", *self.after, axis=0)
        shaped = self.graph.reshape(joined, *self.shape)
        self.graph.output(shaped, f"next_{self.name}", self.shape)


def add_bands(graph: Graph, networks: BandNetworks, x: str, chunk: str) -> list[str]:
    """Add BandUnmix networks, (frames, channels, bins) to masks (1, frames, channels, bins)."""
    hidden = [
        add_band_trunk(graph, networks, index, x, chunk) for index in range(len(networks.trunks))
    ]
    return [
        add_band_decoder(graph, network, hidden[index])
        for network, index in zip(networks.networks, networks.trunk_of, strict=True)
    ]


def add_band_trunk(graph: Graph, networks: BandNetworks, index: int, x: str, chunk: str) -> str:
    """Add the trunk of BandUnmix, (frames, channels, bins) to (bands, frames, width)."""
    network = networks.trunks[index]
    width, channels = network.architecture.hidden_size, network.nb_channels
    is_seen = np.arange(network.nb_output_bins) < network.max_bin
    cropped = graph.add("Mul", x, graph.constant(is_seen.astype(np.float32)))
    compressed = add_compression(graph, cropped, network.architecture.compression)
    features, start = [], 0
    for (bands, bins), reduce in zip(network.groups, network.reduce, strict=True):
        stop = start + bands * bins
        part = graph.reshape(graph.part(compressed, 2, start, stop), 0, channels, bands, bins)
        start = stop
        # (frames, channels, bands, bins) to (bands, frames, channels * bins)
        part = graph.reshape(graph.transpose(part, 2, 0, 1, 3), bands, -1, channels * bins)
        features.append(add_dense(graph, graph.normalise(part, channels * bins), reduce))
    bands = sum(count for count, _ in network.groups)
    x = graph.transpose(graph.add("Concat", *features, axis=0), 1, 0, 2)
    layers = networks.over_time[index]
    state = States(graph, index, len(layers), bands, width)
    for number, (over_time, across) in enumerate(zip(layers, network.across_bands, strict=True)):
        assert isinstance(across, Recurrent)
        y = graph.normalise(x, width, over_time.norm)
        y = state.run(number, y, networks.recurrent[index][number], chunk)
        x = graph.add("Add", x, graph.affine(y, over_time.project.weight.T, over_time.project.bias))
        x = graph.transpose(x, 1, 0, 2)  # (bands, frames, width)
        y = graph.normalise(x, width, across.norm)
        ways = zip(split_lstm(across.lstm, torch.float32)[0], ("forward", "reverse"), strict=True)
        y = graph.add("Concat", *(graph.lstm(y, lstm, way=way)[0] for lstm, way in ways), axis=-1)
        x = graph.add("Add", x, graph.affine(y, across.project.weight.T, across.project.bias))
        if number + 1 < len(layers):
            x = graph.transpose(x, 1, 0, 2)
    state.finish()
    return x


def add_band_decoder(graph: Graph, network: BandUnmix, hidden: str) -> str:
    """Add the decoder of a target, (bands, frames, width) to a mask (1, frames, channels, bins)."""
    masks, start = [], 0
    channels = network.nb_channels
    for (bands, bins), mix, expand in zip(network.groups, network.mix, network.expand, strict=True):
        part, start = graph.part(hidden, 0, start, start + bands), start + bands
        inner = graph.add("Tanh", add_dense(graph, part, mix))
        mask = graph.add("Sigmoid", add_dense(graph, inner, expand))
        # (bands, frames, channels * bins) to (frames, channels, bands * bins)
        mask = graph.transpose(graph.reshape(mask, bands, -1, channels, bins), 1, 2, 0, 3)
        masks.append(graph.reshape(mask, 1, -1, channels, bands * bins))
    return str(graph.add("Concat", *masks, axis=3))


def add_dense(graph: Graph, x: str, layer: nn.Module) -> str:
    """Add the dense layers of a group of bands, (bands, frames, inputs) to (..., outputs)."""
    assert isinstance(layer, PerBand)
    return graph.affine(x, layer.weight, layer.bias)


def add_compression(graph: Graph, x: str, power: float) -> str:
    """Add the compression of magnitudes."""
    if power == 1:
        return x
    audible = graph.add("Max", x, graph.constant(np.float32(SMALLEST)))
    return str(graph.add("Pow", audible, graph.constant(np.float32(power))))
