"""OpenUnmix networks as a graph, from their weights by name.

The names are those of a state dict. :mod:`openunmix.predict._folded` has the formula. Like
``graph.py``, this file needs no torch: the package in ``lite/`` builds its model with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from openunmix.predict._folding import fold_decoder, fold_encoder, fold_mixer
from openunmix.predict.export.graph import Array, Graph, LSTMWeights
from openunmix.predict.export.layers import add_compression, add_layers

_LAST = np.iinfo(np.int64).max


def add_open_unmix(
    graph: Graph,
    networks: Sequence[Mapping[str, Array]],
    trunk_of: Sequence[int],
    channels: int,
    bridged: bool,
    x: str,
    chunk: str,
) -> list[str]:
    """Add networks, (frames, channels, bins) to masks (1, frames, channels, bins).

    ``trunk_of`` each network is the number of its trunk, counted from 0; those of equal numbers
    have equal weights in the trunk.
    """
    trunks = [networks[trunk_of.index(number)] for number in range(max(trunk_of) + 1)]
    layers = [lstm_layers(trunk) for trunk in trunks]
    features = [add_encoder(graph, trunk, channels, x) for trunk in trunks]
    features = _averaged(graph, features) if bridged else features
    hidden = []
    for number, trunk_layers in enumerate(layers):
        steps = graph.reshape(features[number], 0, 1, -1)  # one item
        outputs = add_layers(graph, steps, trunk_layers, number, 1, chunk)
        hidden.append(graph.reshape(outputs, 0, -1))
    hidden = _averaged(graph, hidden) if bridged else hidden
    inputs = [graph.add("Concat", *both, axis=1) for both in zip(features, hidden, strict=True)]
    if any(len(trunk[0]) > 1 for trunk in layers):  # no mask of the lookahead is wanted
        inputs = [graph.part(both, 0, 0, chunk) for both in inputs]
    return [
        add_decoder(graph, network, channels, inputs[number])
        for network, number in zip(networks, trunk_of, strict=True)
    ]


def _averaged(graph: Graph, values: Sequence[str]) -> list[str]:
    """Replace the values of all trunks by their mean."""
    return [graph.add("Mean", *values)] * len(values)


def add_encoder(graph: Graph, trunk: Mapping[str, Array], channels: int, x: str) -> str:
    """Add the features of single frames, (frames, channels, bins) to (frames, hidden)."""
    rows, columns, bias = fold_encoder(trunk, channels)
    seen = graph.part(x, 2, 0, len(columns))
    compressed = add_compression(graph, seen, float(trunk.get("compression", 1)))
    flat = graph.reshape(compressed, 0, channels * len(columns))
    gains = [rows, np.tile(columns, channels)[:, None]]  # of the transposed matrix
    return str(graph.add("Tanh", graph.affine(flat, trunk["fc1.weight"].T, bias, gains)))


def add_decoder(graph: Graph, network: Mapping[str, Array], channels: int, x: str) -> str:
    """Add a mask, features and hidden states (frames, 2 hidden) to (1, frames, channels, bins)."""
    layers = {"fc2.weight": fold_mixer(network), "fc3.weight": fold_decoder(network, channels)}
    for name, (rows, bias) in layers.items():
        x = graph.add("Relu", graph.affine(x, network[name].T, bias, [rows]))
    return graph.reshape(x, 1, -1, channels, len(bias) // channels)


def lstm_layers(trunk: Mapping[str, Array]) -> list[list[LSTMWeights]]:
    """Weights of a trunk's LSTM, layer by layer, of each a forward and maybe a backward one."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffixes = [name.removeprefix("lstm.weight_ih") for name in trunk if "lstm.weight_ih" in name]
    layers: dict[str, list[LSTMWeights]] = {}
    for suffix in sorted(suffixes, key=lambda suffix: (len(suffix), suffix)):  # forward ones first
        weights = LSTMWeights(*(trunk[f"lstm.{name}{suffix}"] for name in names))
        layers.setdefault(suffix.removesuffix("_reverse"), []).append(weights)
    return list(layers.values())
