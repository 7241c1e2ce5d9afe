"""Make a causal network of half the width out of a model, to train it further.

::

    python recipes/umxlive/narrow.py SONGS MODEL OUTPUT [LEFT_OUT ...]

SONGS is a folder of track folders of stems, some of which may be left out, and MODEL a folder of
networks that share a trunk. Half of the units of each layer are kept, those that the others explain
least, and of the LSTM the forward direction. Layers that read all units read least-squares
estimates of them from the units kept: an estimate is linear, so that this changes only weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from scipy.linalg import qr
from torch import Tensor, nn

from openunmix.data.tracks import find_tracks
from openunmix.model import OpenUnmix, share
from openunmix.pretrained.folder import load_folder, save_folder
from openunmix.transforms.fourier import STFTConfig, stft

SECONDS = 30  # of each song
GATES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

Layers = dict[str, Tensor]  # values (frames, units) of the units of each layer, by name


def mixtures(songs: Path, left_out: Sequence[str], config: STFTConfig) -> Iterator[Tensor]:
    """Yield magnitudes (frames, 1, channels, bins) of the middle of each song."""
    tracks = find_tracks(songs, subset="", is_wav=True)
    for track in [track for track in tracks if track.name not in left_out]:
        mixture, samples = track.read().mixture, round(SECONDS * config.sample_rate)
        begin = max(0, mixture.shape[-1] - samples) // 2
        spectrum = stft(mixture[:, begin : begin + samples], config.n_fft, config.n_hop)
        yield spectrum.abs().permute(2, 0, 1)[:, None]


def direction(lstm: nn.LSTM, layer: int, suffix: str) -> nn.LSTM:
    """Return one direction of one layer of a bidirectional LSTM."""
    weights = {f"{name}_l0": getattr(lstm, f"{name}_l{layer}{suffix}") for name in GATES}
    alone = nn.LSTM(weights["weight_ih_l0"].shape[1], lstm.hidden_size)
    alone.load_state_dict(weights)
    return alone


def activations(networks: Mapping[str, OpenUnmix], magnitude: Tensor) -> Layers:
    """Return what all layers make of a mixture (frames, 1, channels, bins)."""
    first = next(iter(networks.values()))
    states = first.encode(magnitude)
    layers = {"features": states[:, 0]}
    for layer in range(first.nb_layers):
        forward = direction(first.lstm, layer, "")(states)[0]
        backward = direction(first.lstm, layer, "_reverse")(states.flip(0))[0].flip(0)
        layers |= {f"forward {layer}": forward[:, 0], f"backward {layer}": backward[:, 0]}
        states = torch.cat([forward, backward], dim=-1)
    joined = torch.cat([layers["features"], states[:, 0]], dim=-1)
    for target, network in networks.items():
        layers[target] = torch.relu(network.bn2(network.fc2(joined)))
    return layers


class Units:
    """Mean and covariance of all units, over all frames."""

    def __init__(self, batches: Iterator[Layers]) -> None:
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for layers in batches:
            values = torch.cat([*layers.values()], dim=1).double()
            count += len(values)
            total = total + values.sum(dim=0)
            products = products + values.T @ values
        self.mean = total / count
        self.covariance = products / count - torch.outer(self.mean, self.mean)
        ends = torch.tensor([part.shape[1] for part in layers.values()]).cumsum(dim=0)
        #: Indices of the units of each layer.
        parts = torch.arange(int(ends[-1])).tensor_split(ends[:-1])
        self.of = dict(zip(layers, parts, strict=True))

    def half(self, layer: str) -> Tensor:
        """Choose half of the units of a layer, one by one, the least explained by those before."""
        own = self.of[layer]
        covariance = self.covariance[own][:, own] + 1e-9 * torch.eye(len(own))
        order = qr(torch.linalg.cholesky(covariance).T.numpy(), mode="r", pivoting=True)[1]
        return torch.from_numpy(order[: len(own) // 2]).long().sort().values

    def estimate(self, wanted: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return matrix and constant with ``matrix @ known + constant`` nearest to ``wanted``."""
        own = self.covariance[known][:, known]
        own = own + 1e-4 * own.diagonal().mean() * torch.eye(len(known))
        matrix = torch.linalg.solve(own, self.covariance[known][:, wanted]).T
        return matrix, self.mean[wanted] - matrix @ self.mean[known]


def narrow_trunk(old: OpenUnmix, new: OpenUnmix, units: Units) -> tuple[Tensor, Tensor]:
    """Fill the layers that targets share; return the units that decoders read, old and new."""
    kept = units.half("features")
    new.fc1.weight.copy_(old.fc1.weight[kept])
    copy_normalisation(old.bn1, new.bn1, kept)
    new.input_mean.copy_(old.input_mean)
    new.input_scale.copy_(old.input_scale)
    features = (units.of["features"], units.of["features"][kept])
    wanted, known = features
    for layer in range(old.nb_layers):
        matrix, constant = units.estimate(wanted, known)
        forward = direction(old.lstm, layer, "")
        weight = forward.weight_ih_l0.double()
        getattr(new.lstm, f"weight_ih_l{layer}").copy_(weight @ matrix)
        getattr(new.lstm, f"bias_ih_l{layer}").copy_(forward.bias_ih_l0 + weight @ constant)
        getattr(new.lstm, f"weight_hh_l{layer}").copy_(forward.weight_hh_l0)
        getattr(new.lstm, f"bias_hh_l{layer}").copy_(forward.bias_hh_l0)
        known = units.of[f"forward {layer}"]
        wanted = torch.cat([known, units.of[f"backward {layer}"]])
    return torch.cat([features[0], wanted]), torch.cat([features[1], known])


def narrow_decoder(
    old: OpenUnmix, new: OpenUnmix, units: Units, target: str, read: tuple[Tensor, Tensor]
) -> None:
    """Fill the layers of one target, which read units of the trunk."""
    kept, own = units.half(target), units.of[target]
    matrix, constant = units.estimate(*read)
    weight = old.fc2.weight[kept].double()
    new.fc2.weight.copy_(weight @ matrix)
    copy_normalisation(old.bn2, new.bn2, kept)
    new.bn2.running_mean -= weight @ constant  # fc2 and fc3 have no bias
    matrix, constant = units.estimate(own, own[kept])
    weight = old.fc3.weight.double()
    new.fc3.weight.copy_(weight @ matrix)
    copy_normalisation(old.bn3, new.bn3, torch.arange(len(weight)))
    new.bn3.running_mean -= weight @ constant
    new.output_mean.copy_(old.output_mean)
    new.output_scale.copy_(old.output_scale)


def copy_normalisation(old: nn.BatchNorm1d, new: nn.BatchNorm1d, kept: Tensor) -> None:
    """Copy the batch normalisation of some units."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(new, name).copy_(getattr(old, name)[kept])


@torch.no_grad()
def main(songs: str, model: str, output: str, *left_out: str) -> None:
    """Write the causal networks of a model folder."""
    networks, config, _ = load_folder(model)
    first = next(iter(networks.values()))
    mixed = mixtures(Path(songs), left_out, config.stft)
    units = Units(activations(networks, magnitude) for magnitude in mixed)
    half = first.hidden_size // 2
    options = replace(first.architecture, hidden_size=half, unidirectional=True, dropout=0.1)
    made = {target: options.build(config.stft, config.channels).eval() for target in networks}
    share(made.values())
    read = narrow_trunk(first, made[next(iter(made))], units)
    for target, network in networks.items():
        narrow_decoder(network, made[target], units, target, read)
    save_folder(output, made, replace(config, architecture=options))


if __name__ == "__main__":
    main(*sys.argv[1:])
