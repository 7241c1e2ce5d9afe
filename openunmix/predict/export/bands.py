"""Networks of frequency bands as a graph, from the modules that inference uses.

They have the interface that :mod:`openunmix.predict._networks` describes: features of single
frames, recurrent layers, a mask per target. A frame is (channels, bins) of magnitudes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from openunmix.model.bands import BandUnmix, PerBand, Recurrent
from openunmix.predict._bands import BandNetworks
from openunmix.predict._recurrent import split_lstm
from openunmix.predict.export.graph import Array, Graph, LSTMWeights
from openunmix.predict.export.layers import States, add_compression


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
        features.append(add_dense(graph, graph.normalise(part, np.ones(channels * bins)), reduce))
    bands = sum(count for count, _ in network.groups)
    encoded = graph.transpose(graph.add("Concat", *features, axis=0), 1, 0, 2)
    x = add_steps(graph, network, encoded, bands)
    steps = graph.add("Div", chunk, graph.constant(np.array([network.stride])))
    layers = networks.over_time[index]
    state = States(graph, index, len(layers), bands, width)
    for number, (over_time, across) in enumerate(zip(layers, network.across_bands, strict=True)):
        assert isinstance(across, Recurrent)
        y = add_norm(graph, x, over_time.norm)
        directions = [lstm_weights(layer) for layer in networks.recurrent[index][number]]
        y = state.run(number, y, directions, steps)
        x = graph.add("Add", x, add_projection(graph, y, over_time.project))
        x = graph.transpose(x, 1, 0, 2)  # (bands, steps, width)
        y = add_norm(graph, x, across.norm)
        ways = zip(split_lstm(across.lstm, torch.float32)[0], ("forward", "reverse"), strict=True)
        both = [graph.lstm(y, lstm_weights(lstm), way=way)[0] for lstm, way in ways]
        y = graph.add("Concat", *both, axis=-1)
        x = graph.add("Add", x, add_projection(graph, y, across.project))
        x = graph.transpose(x, 1, 0, 2)
    state.finish()
    x = add_frames(graph, network, x, encoded, bands)
    if not network.architecture.unidirectional:  # no mask of the lookahead is wanted
        x = graph.part(x, 0, 0, chunk)
    return graph.transpose(x, 1, 0, 2)


def add_steps(graph: Graph, network: BandUnmix, x: str, bands: int) -> str:
    """Add the layer that joins frames, (frames, bands, width) to (steps, bands, width)."""
    if network.stride == 1:
        return x
    stride, width = network.stride, network.architecture.hidden_size
    # As many silent frames as may be missing, then whole steps.
    after = graph.constant(np.zeros((stride - 1, bands, width), np.float32))
    x = graph.add("Concat", x, after, axis=0)
    size = graph.constant(np.array([stride]))
    steps = graph.add("Div", graph.add("Shape", x, start=0, end=1), size)
    x = graph.part(x, 0, 0, graph.add("Mul", steps, size))
    joined = graph.transpose(graph.reshape(x, -1, stride, bands, width), 0, 2, 1, 3)
    return add_projection(graph, graph.reshape(joined, -1, bands, stride * width), network.stack)


def add_frames(graph: Graph, network: BandUnmix, x: str, encoded: str, bands: int) -> str:
    """Add the layer from steps to frames, (steps, bands, width) to (frames, bands, width)."""
    stride, width = network.stride, network.architecture.hidden_size
    if stride > 1:
        x = graph.reshape(add_projection(graph, x, network.unstack), -1, bands, stride, width)
        x = graph.reshape(graph.transpose(x, 0, 2, 1, 3), -1, bands, width)
        x = graph.part(x, 0, 0, graph.add("Shape", encoded, start=0, end=1))
    return str(graph.add("Add", encoded, x))


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
    return graph.affine(x, array(layer.weight), array(layer.bias))


def add_norm(graph: Graph, x: str, layer: nn.LayerNorm) -> str:
    """Add a normalisation of the last axis."""
    return graph.normalise(x, array(layer.weight), array(layer.bias), layer.eps)


def add_projection(graph: Graph, x: str, layer: nn.Module) -> str:
    """Add a dense layer (..., inputs) to (..., outputs)."""
    assert isinstance(layer, nn.Linear)
    return graph.affine(x, array(layer.weight).T, array(layer.bias))


def lstm_weights(layer: nn.LSTM) -> LSTMWeights:
    """Weights of an LSTM of one layer and direction."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return LSTMWeights(*(array(getattr(layer, name)) for name in names))


def array(tensor: Tensor) -> Array:
    """Convert a tensor."""
    converted: Array = tensor.detach().float().cpu().numpy()
    return converted
