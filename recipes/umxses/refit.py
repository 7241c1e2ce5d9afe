"""Another power of a network's input: the first layer is fitted anew, all others are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from openunmix.model import OpenUnmix
from openunmix.pretrained.folder import load_folder, save_folder
from openunmix.transforms.fourier import STFTConfig, stft

__all__ = ["refit_folder", "refitted"]

# Codes are tanh of the values that are fitted; beyond this one it hardly matters what they are.
_LARGEST = 2.5
# Weight of the squared coefficients in the fit, relative to the features' variance.
_RIDGE = 1e-3
# Factor of the weights, which the normalisation after them takes back: what is new would otherwise
# be small beside the steps of Adam.
_SIZE = 8.0


def refit_folder(folder: Path, power: float, mixtures: Iterable[Tensor], output: Path) -> None:
    """Let all networks of a model folder see another power of magnitudes.

    Parameters
    ----------
    folder : Path
        The folder, of networks of one size that see magnitudes themselves.
    power : float
        The power.
    mixtures : iterable of Tensor [shape=(channels, samples)], real
        What the first layers are fitted to.
    output : Path
        The folder to write.
    """
    model = load_folder(folder)
    config = model.config.stft
    spectra = (stft(mixture, config.n_fft, config.n_hop) for mixture in mixtures)
    magnitudes = (spectrum.abs().permute(2, 0, 1) for spectrum in spectra)
    save_folder(output, refitted(model.networks, magnitudes, power, config), model.config)


@torch.no_grad()
def refitted(
    networks: Mapping[str, OpenUnmix],
    magnitudes: Iterable[Tensor],
    power: float,
    config: STFTConfig,
) -> dict[str, OpenUnmix]:
    """Let networks see another power of magnitudes.

    The first layers are fitted by least squares, so that the codes of frames stay what they were as
    nearly as they can make them. The networks are a little worse then, and to be trained further.

    Parameters
    ----------
    networks : mapping of str to OpenUnmix
        Networks of one size that see magnitudes themselves, in evaluation mode.
    magnitudes : iterable of Tensor [shape=(frames, channels, bins)], real, non-negative
        Magnitudes of mixtures.
    power : float
        The power.
    config : STFTConfig
        The STFT of the magnitudes.

    Returns
    -------
    dict of str to OpenUnmix
        New networks.
    """
    new = {target: _with_power(network, power, config) for target, network in networks.items()}
    first = next(iter(new.values()))
    size = first.nb_channels * first.nb_bins + 1
    moments = torch.zeros(size, size, dtype=torch.float64)
    products = {
        target: torch.zeros(size, network.hidden_size, dtype=torch.float64)
        for target, network in networks.items()
    }
    largest = math.tanh(_LARGEST)
    for magnitude in magnitudes:
        seen = first.compress(magnitude[..., : first.nb_bins]).flatten(1).double()
        seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
        moments += seen.T @ seen
        for target, network in networks.items():
            code = network.encode(magnitude[:, None])[:, 0].double()
            products[target] += seen.T @ code.clamp(-largest, largest).atanh()
    for target, network in new.items():
        set_first_layer(network, moments, products[target])
    return new


def _with_power(network: OpenUnmix, power: float, config: STFTConfig) -> OpenUnmix:
    """Return a copy of a network with another power of its input, in evaluation mode."""
    new = replace(network.architecture, compression=power).build(config, network.nb_channels)
    new.load_state_dict({**new.state_dict(), **network.state_dict()})
    return new.eval()


def set_first_layer(network: OpenUnmix, moments: Tensor, products: Tensor) -> None:
    """Solve the normal equations, and set statistics, first layer and normalisation from them.

    The last of the inputs is the constant 1.
    """
    count = moments[-1, -1]
    mean = moments[-1, :-1] / count
    covariance = moments[:-1, :-1] / count - mean * mean[:, None]
    ridge = torch.full_like(mean, _RIDGE * float(covariance.diagonal().mean() * count))
    fitted = torch.linalg.solve(moments + torch.cat([ridge, ridge.new_zeros(1)]).diag(), products)
    weight, offset = fitted[:-1].T, fitted[-1]

    bins = mean.reshape(network.nb_channels, -1).mean(dim=0)
    scale = covariance.diagonal().reshape(network.nb_channels, -1).mean(dim=0).sqrt()
    scale = scale.clamp(min=1e-2 * float(scale.max()))
    variance = ((weight @ covariance) * weight).sum(dim=1)
    network.input_mean.copy_(-bins)
    network.input_scale.copy_(1 / scale)
    network.fc1.weight.copy_(_SIZE * weight * scale.repeat(network.nb_channels))
    norm = network.bn1
    norm.running_mean.copy_(_SIZE * weight @ (mean - bins.repeat(network.nb_channels)))
    norm.running_var.copy_(_SIZE**2 * variance)
    norm.weight.copy_(variance.sqrt())
    norm.bias.copy_(weight @ mean + offset)
