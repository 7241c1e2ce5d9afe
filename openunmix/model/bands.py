"""A network of frequency bands: narrow recurrent layers, in turns over time and across bands.

The spectrum is cut into bands, narrow where notes are. A dense layer of each band reduces a frame
to a few features. A recurrent layer over time, the same for all bands, and one across bands, the
same for all frames, alternate; each adds its result to its input. A small perceptron of each band
makes the mask. Layers that all bands share need few weights [1]_. Frames overlap, so that the
recurrent layers may take ``stride`` of them as one step.

References
----------
.. [1] Y. Luo, J. Yu, "Music Source Separation with Band-Split RNN", IEEE/ACM Transactions on
   Audio, Speech, and Language Processing 31, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from openunmix.model.architecture import NETWORKS, SMALLEST, Architecture, MaskNetwork
from openunmix.transforms.fourier import STFTConfig, bandwidth_to_max_bin

# How many bands of how many bins, from low to high; all bins above are one band.
_BANDS = ((12, 8), (12, 24), (8, 64), (4, 128))


@dataclass(frozen=True)
class BandArchitecture(Architecture):
    """Options of :class:`BandUnmix`; ``hidden_size`` are the features of a band."""

    name = "BandUnmix"

    hidden_size: int = field(default=48)
    compression: float = field(default=0.25)
    #: Probability that a band of an excerpt is left out of the input in training.
    dropout: float = field(default=0.0)
    #: Frames that are one step of the recurrent layers.
    stride: int = field(default=2)

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.stride < 1:
            raise ValueError(f"stride={self.stride} must be 1 or more")


class BandUnmix(MaskNetwork):
    """Network that estimates the magnitude of one target band by band.

    Parameters
    ----------
    architecture : BandArchitecture
        Its options.
    nb_output_bins, nb_channels : int
        Frequency bins and audio channels of its input and of its mask.
    max_bin : int
        Bins from this one on are masked, but not seen.
    """

    options = BandArchitecture
    trunk_layers = ("reduce", "stack", "over_time", "across_bands", "unstack")

    def __init__(
        self, architecture: BandArchitecture, nb_output_bins: int, nb_channels: int, max_bin: int
    ) -> None:
        super().__init__(architecture, nb_output_bins, nb_channels)
        self.max_bin = max_bin
        self.groups = band_groups(nb_output_bins)
        width, layers = architecture.hidden_size, range(architecture.nb_layers)
        is_bidirectional = not architecture.unidirectional
        sizes = [(bands, nb_channels * bins) for bands, bins in self.groups]
        self.reduce = nn.ModuleList(PerBand(bands, size, width) for bands, size in sizes)
        self.stride = architecture.stride
        dense = nn.Linear if self.stride > 1 else nn.Identity
        self.stack = dense(self.stride * width, width)
        self.unstack = dense(width, self.stride * width)
        self.over_time = nn.ModuleList(Recurrent(width, is_bidirectional) for _ in layers)
        self.across_bands = nn.ModuleList(Recurrent(width, True) for _ in layers)
        inner = 4 * width // 3  # of the perceptrons, which have most of the weights
        self.mix = nn.ModuleList(PerBand(bands, width, inner) for bands, _ in sizes)
        self.expand = nn.ModuleList(PerBand(bands, inner, size) for bands, size in sizes)

    def encode(self, magnitude: Tensor) -> Tensor:
        """(frames, batch, channels, bins) to features (frames, batch, bands, width)."""
        frames, batch, channels, bins = magnitude.shape
        cropped = functional.pad(magnitude[..., : self.max_bin], (0, bins - self.max_bin))
        sizes = [bands * width for bands, width in self.groups]
        parts = self.compress(cropped).flatten(0, 1).split_with_sizes(sizes, dim=-1)
        features = []
        for part, (bands, _), reduce in zip(parts, self.groups, self.reduce, strict=True):
            # (items, channels, bands * bins) to (bands, items, channels * bins)
            x = part.reshape(frames * batch, channels, bands, -1).permute(2, 0, 1, 3).flatten(2)
            features.append(reduce(functional.layer_norm(x, x.shape[-1:])))
        x = torch.cat(features).transpose(0, 1).reshape(frames, batch, -1, features[0].shape[-1])
        kept = x.new_ones(1, batch, x.shape[2], 1)
        return x * functional.dropout(kept, self.architecture.dropout, self.training)

    def recur(self, features: Tensor) -> Tensor:
        """Hidden states, (frames, batch, bands, width) as the features."""
        x = self.to_steps(features)
        steps, batch, bands, width = x.shape
        for over_time, across_bands in zip(self.over_time, self.across_bands, strict=True):
            x = over_time(x.reshape(steps, batch * bands, width))
            x = across_bands(x.reshape(steps * batch, bands, width).transpose(0, 1))
            x = x.transpose(0, 1).reshape(steps, batch, bands, width)
        return self.to_frames(x, features)

    def to_steps(self, features: Tensor) -> Tensor:
        """Join each ``stride`` frames of features (frames, ..., width), silent after the last."""
        after = features.new_zeros(-len(features) % self.stride, *features.shape[1:])
        frames = torch.cat([features, after]).reshape(-1, self.stride, *features.shape[1:])
        joined: Tensor = self.stack(frames.movedim(1, -2).flatten(-2))
        return joined

    def to_frames(self, steps: Tensor, features: Tensor) -> Tensor:
        """Add what steps (steps, ..., width) say of each frame to its features."""
        frames = self.unstack(steps).reshape(*steps.shape[:-1], self.stride, -1).movedim(-2, 1)
        total: Tensor = features + frames.flatten(0, 1)[: len(features)]
        return total

    def decode(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Mask (frames, batch, channels, bins) of hidden states (frames, batch, bands, width)."""
        frames, batch = hidden.shape[:2]
        groups = hidden.flatten(0, 1).transpose(0, 1).split_with_sizes([n for n, _ in self.groups])
        masks = []
        for x, mix, expand in zip(groups, self.mix, self.expand, strict=True):
            mask = torch.sigmoid(expand(torch.tanh(mix(x))))
            mask = mask.reshape(len(x), frames, batch, self.nb_channels, -1)
            masks.append(mask.permute(1, 2, 3, 0, 4).flatten(3))
        return torch.cat(masks, dim=-1)

    def compress(self, magnitude: Tensor) -> Tensor:  # noqa: D102
        return magnitude.clamp(min=SMALLEST).pow(self.architecture.compression)

    @classmethod
    def from_architecture(  # noqa: D102
        cls, architecture: Architecture, stft: STFTConfig, nb_channels: int = 2
    ) -> BandUnmix:
        assert isinstance(architecture, BandArchitecture)
        bandwidth = architecture.bandwidth or stft.sample_rate
        max_bin = bandwidth_to_max_bin(stft.sample_rate, stft.n_fft, bandwidth)
        return cls(architecture, stft.bins, nb_channels, min(max_bin, stft.bins))


NETWORKS[BandArchitecture.name] = BandUnmix


class PerBand(nn.Module):
    """Dense layer of its own for each band: (bands, items, inputs) to (bands, items, outputs)."""

    def __init__(self, bands: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(bands, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(bands, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.baddbmm(self.bias, x, self.weight)


class Recurrent(nn.Module):
    """``x + project(lstm(norm(x)))`` along the first axis of (steps, items, width)."""

    def __init__(self, width: int, is_bidirectional: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width, bidirectional=is_bidirectional)
        self.project = nn.Linear(width * (1 + is_bidirectional), width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        hidden, _ = self.lstm(self.norm(x))
        total: Tensor = x + self.project(hidden)
        return total


def band_groups(bins: int) -> list[tuple[int, int]]:
    """Cut bins into bands: pairs of how many bands of how many bins each, from low to high."""
    groups = []
    for bands, width in _BANDS:
        fitting = min(bands, bins // width)
        if fitting:
            groups.append((fitting, width))
        bins -= fitting * width
    return [*groups, (1, bins)] if bins else groups
