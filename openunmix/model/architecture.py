"""Options of a network, and the interface of all networks to loader, trainer and engine.

A second architecture is a subclass of :class:`MaskNetwork` with an entry in :data:`NETWORKS`, and
a subclass of :class:`Architecture` for its options; see ``docs/extending.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar

from torch import Tensor

from openunmix.transforms.fourier import STFTConfig
from openunmix.transforms.settings import ExactSettings

#: Smaller magnitudes are compressed as this one: the slope of the power is infinite at 0.
SMALLEST = 1e-12


@dataclass(frozen=True)
class Architecture:
    """Options of a network: all that describes it beside STFT and channels.

    A field is an argument of the network, a key of ``separator.json``, and an option of
    ``umx-train`` with the ``help`` of its metadata. Only ``bandwidth`` (in Hz, all frequencies if
    None), ``bridged`` and ``shared`` are no arguments of :class:`~openunmix.model.OpenUnmix`.

    Examples
    --------
    >>> from openunmix.transforms.fourier import STFTConfig
    >>> network = Architecture(hidden_size=8, bandwidth=16000).build(STFTConfig())
    >>> network.nb_bins, network.nb_output_bins
    (1487, 2049)
    """

    #: Key of :data:`NETWORKS`.
    name: ClassVar[str] = "OpenUnmix"

    hidden_size: int = field(
        default=512, metadata={"help": "hidden size of the networks", "metavar": "N"}
    )
    nb_layers: int = field(default=3, metadata={"help": "number of LSTM layers", "metavar": "N"})
    unidirectional: bool = field(default=False, metadata={"help": "use past frames only (causal)"})
    bandwidth: float | None = field(
        default=None, metadata={"help": "highest input frequency in Hz", "metavar": "X"}
    )
    dropout: float = field(
        default=0.4,
        metadata={
            "help": "dropout probability between LSTM layers",
            "metavar": "X",
            "least": 0,
            "below": 1,
        },
    )
    compression: float = field(
        default=1.0,
        metadata={"help": "exponent of the input's power-law compression", "metavar": "X"},
    )
    bridged: bool = field(
        default=False, metadata={"help": "average features over the networks (CrossNet)"}
    )
    shared: bool = field(
        default=False,
        metadata={"help": "share a trunk between targets: all but their last two layers"},
    )

    def __post_init__(self) -> None:
        """Check the options; lists, as JSON has them, become tuples."""
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, list):
                object.__setattr__(self, option.name, tuple(value))
        if not self.unidirectional and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be even for a bidirectional network"
            )
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression={self.compression} must be more than 0, and 1 at most")

    def build(self, stft: STFTConfig, nb_channels: int = 2) -> MaskNetwork:
        """Build a network with random weights, whose input are magnitudes of the STFT."""
        return NETWORKS[self.name].from_architecture(self, stft, nb_channels)


class MaskNetwork(ExactSettings):
    """Interface of all networks.

    Parameters
    ----------
    architecture : Architecture
        Its options.
    nb_output_bins, nb_channels : int
        Frequency bins and audio channels of its input and of its mask.
    """

    #: Class of the options.
    options: ClassVar[type[Architecture]] = Architecture
    #: Attributes that networks of a shared trunk have in common; none if they cannot share one.
    trunk_layers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, architecture: Architecture, nb_output_bins: int, nb_channels: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.nb_output_bins = nb_output_bins
        self.nb_channels = nb_channels

    @classmethod
    def from_architecture(
        cls, architecture: Architecture, stft: STFTConfig, nb_channels: int = 2
    ) -> MaskNetwork:
        """Build a network with random weights, see :meth:`Architecture.build`."""
        return cls(architecture, stft.bins, nb_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Magnitude of the target, the mixture's times :meth:`mask`.

        Both are (batch, channels, bins, frames), real and non-negative.
        """
        frames_first = x.permute(3, 0, 1, 2)
        return (self.mask(frames_first) * frames_first).permute(1, 2, 3, 0)

    def mask(self, magnitude: Tensor) -> Tensor:
        """Ratio of the target's magnitude to the mixture's; it may exceed 1.

        Both are (frames, batch, channels, bins), frames first as recurrent layers take them. A
        network has its own, or the three steps whose product it is, of which the first two are the
        trunk.
        """
        features = self.encode(magnitude)
        return self.decode(features, self.recur(features))

    def encode(self, magnitude: Tensor) -> Tensor:
        """Features of single frames, in a shape of the network's own."""
        raise NotImplementedError

    def recur(self, features: Tensor) -> Tensor:
        """Hidden states of recurrent layers, of the shape of the features."""
        raise NotImplementedError

    def decode(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Mask (frames, batch, channels, bins) of features and hidden states."""
        raise NotImplementedError

    @property
    def trunk(self) -> tuple[object, ...]:
        """Layers of encoding and recurrence; equal for networks that share them."""
        return tuple(getattr(self, name) for name in self.trunk_layers)

    def compress(self, magnitude: Tensor) -> Tensor:
        """Compress magnitudes of any shape; statistics of the input are those of the result."""
        return magnitude

    def set_input_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Fit the normalisation of the input, if the network has one.

        ``mean`` and ``scale`` (bins,) are the mean and standard deviation of the compressed
        magnitudes of training mixtures.
        """

    def freeze(self) -> None:
        """Switch to evaluation permanently: no dropout, running statistics, no gradients."""
        self.requires_grad_(False)
        self.eval()


#: Classes of networks by the name that ``separator.json`` has under ``architecture``.
NETWORKS: dict[str, type[MaskNetwork]] = {}
