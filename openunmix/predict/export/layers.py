"""What the graphs of all networks have in common: inputs, output, LSTM layers, compression.

Like ``graph.py``, this file needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openunmix.predict.export.graph import Graph, LSTMWeights

_SMALLEST = 1e-12  # SMALLEST of openunmix.model.architecture, which needs torch


def add_inputs(graph: Graph, channels: int, bins: int) -> tuple[str, str]:
    """Add the magnitude (frames, channels, bins), and the frames of the chunk."""
    x = graph.input("magnitude", ("frames", channels, bins))
    # Frames before the lookahead: states are those after them.
    return x, graph.input("chunk", (1,), np.array([np.iinfo(np.int64).max]))


def add_masks(graph: Graph, masks: Sequence[str], channels: int, bins: int) -> None:
    """Join masks (1, frames, channels, bins) to the output, which comes before the states."""
    shape = (len(masks), "frames of the chunk", channels, bins)
    graph.output(graph.add("Concat", *masks, axis=0), "masks", shape)
    graph.outputs.insert(0, graph.outputs.pop())


def add_layers(
    graph: Graph,
    x: str,
    layers: Sequence[Sequence[LSTMWeights]],
    trunk: int,
    items: int,
    chunk: str,
) -> str:
    """Add stacked LSTM layers, (frames, items, features) to (frames, items, outputs)."""
    state = States(graph, trunk, len(layers), items, layers[0][0].weight_hh.shape[1])
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

    def run(self, number: int, x: str, directions: Sequence[LSTMWeights], chunk: str) -> str:
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


def add_compression(graph: Graph, x: str, power: float) -> str:
    """Add the compression of magnitudes."""
    if power == 1:
        return x
    audible = graph.add("Max", x, graph.constant(np.float32(_SMALLEST)))
    return str(graph.add("Pow", audible, graph.constant(np.float32(power))))
