"""BandUnmix networks for inference: a trunk that targets share is computed once, chunk by chunk.

As in :mod:`openunmix.predict._folded`, forward layers over time carry their state from chunk to
chunk, and backward ones start in the lookahead. All bands are a batch, so that there is no need to
run parts of the signal side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from openunmix.model import BandUnmix
from openunmix.model.bands import Recurrent
from openunmix.predict._recurrent import State, run_directions, split_lstm
from openunmix.predict._runtime import SEQUENTIAL, Tasks

# Frames of lookahead, 12 s at 44.1 kHz: layers this narrow forget sooner than those of OpenUnmix.
_LOOKAHEAD = 512

# Frames whose bands are computed in a task of their own.
_PART = 256


class BandNetworks:
    """BandUnmix networks of several targets, their matrix products computed as ``dtype``."""

    def __init__(
        self, networks: Sequence[BandUnmix], dtype: torch.dtype, exact: bool = False
    ) -> None:
        self.networks = networks
        self.dtype = dtype
        self.exact = exact
        self.causal = all(network.architecture.unidirectional for network in networks)
        trunks = {network.trunk: network for network in networks}
        self.trunk_of = [list(trunks).index(network.trunk) for network in networks]
        self.trunks = list(trunks.values())
        self.stride = math.lcm(*(trunk.stride for trunk in self.trunks))
        # Layers over time of each trunk, and their LSTMs as one per direction.
        self.over_time = [
            [layer for layer in trunk.over_time if isinstance(layer, Recurrent)]
            for trunk in self.trunks
        ]
        self.recurrent = [
            [split_lstm(layer.lstm, torch.float32)[0] for layer in layers]
            for layers in self.over_time
        ]

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def encode(self, magnitude: Tensor) -> Tensor:
        """Features of all trunks: (frames, channels, bins) to (frames, trunks * bands * width)."""
        with self._autocast(magnitude.device):
            features = [trunk.encode(magnitude[:, None]).flatten(1) for trunk in self.trunks]
        return torch.cat(features, dim=1)

    def run_recurrent(
        self,
        trunk: int,
        features: Tensor,
        frames: int,
        states: list[State] | None,
        tasks: Tasks = SEQUENTIAL,
    ) -> tuple[Tensor, list[State]]:
        """Hidden states of a trunk: (frames + lookahead, features) to (frames, bands * width).

        Takes the states of the forward layers before the first frame; returns those after the last
        of ``frames``, which are whole steps unless the signal ends.
        """
        network, after = self.trunks[trunk], []
        seen = features if self.exact else features[: frames + _LOOKAHEAD]
        encoded = seen.chunk(len(self.trunks), dim=1)[trunk]
        encoded = encoded.reshape(len(seen), -1, network.architecture.hidden_size)
        steps = -(-frames // network.stride)
        with self._autocast(encoded.device):
            x = network.to_steps(encoded)  # (steps, bands, width)
            for number, layer in enumerate(self.over_time[trunk]):
                directions = self.recurrent[trunk][number]
                before = states[number] if states else None
                normal = layer.norm(x)
                hidden, state = run_directions(directions, normal, steps, before, True, tasks)
                after.append(state)
                x = x + layer.project(hidden)
                x = torch.cat(tasks.map(partial(_across, network, number), x.split(_PART)))
            hidden = network.to_frames(x, encoded)
        return hidden[:frames].flatten(1), after

    def decode(
        self, network: int, features: Tensor, hidden: Tensor, magnitude: Tensor, out: Tensor
    ) -> None:
        """Write the estimate of a network, (frames, channels, bins), to ``out``."""
        module = self.networks[network]
        hidden = hidden.reshape(len(hidden), 1, -1, module.architecture.hidden_size)
        with self._autocast(hidden.device):
            mask = module.decode(hidden, hidden)
        torch.mul(mask[:, 0], magnitude, out=out)


def _across(network: BandUnmix, number: int, frames: Tensor) -> Tensor:
    """One layer across bands: (frames, bands, width) to the same."""
    outputs: Tensor = network.across_bands[number](frames.transpose(0, 1)).transpose(0, 1)
    return outputs
