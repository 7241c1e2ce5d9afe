"""Networks of several targets that share a trunk, or are bridged: additions to the paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from openunmix.model.architecture import MaskNetwork
from openunmix.model.network import OpenUnmix

#: Attributes that networks of a shared trunk have in common: all before the last two dense layers.
SHARED_LAYERS = ("fc1", "bn1", "lstm", "input_mean", "input_scale", "compression")


def masks(
    networks: Sequence[MaskNetwork], magnitude: Tensor, bridged: bool = False
) -> list[Tensor]:
    """Masks that several networks estimate for a mixture, all (frames, batch, channels, bins).

    A trunk that networks share, see :func:`share`, is computed once. With ``bridged`` the features
    of every network are replaced by their mean over networks, and the hidden states likewise, as
    in CrossNet-Open-Unmix [1]_; such networks are trained and used together.

    References
    ----------
    .. [1] R. Sawata, S. Uhlich, S. Takahashi, Y. Mitsufuji, "All for one and one for all:
       Improving music separation by bridging networks", ICASSP, 2021.
    """
    own = [network for network in networks if isinstance(network, OpenUnmix)]
    if len(own) < len(networks):
        return [network.mask(magnitude) for network in networks]
    trunks = {network.trunk: network for network in own}
    features = {trunk: network.encode(magnitude) for trunk, network in trunks.items()}
    if bridged:
        features = dict.fromkeys(trunks, torch.stack([*features.values()]).mean(dim=0))
    hidden = {trunk: network.lstm(features[trunk])[0] for trunk, network in trunks.items()}
    if bridged:
        hidden = dict.fromkeys(trunks, torch.stack([*hidden.values()]).mean(dim=0))
    return [network.decode(features[network.trunk], hidden[network.trunk]) for network in own]


def share(networks: Iterable[nn.Module]) -> None:
    """Replace the trunk of all networks by that of the first.

    Each network keeps its own last two dense layers. Shared layers are trained by the losses of
    all targets and computed once, so they can be wider at equal cost.

    Parameters
    ----------
    networks : iterable of OpenUnmix
        Networks of one architecture; all but the first are changed.

    Examples
    --------
    >>> one, other = OpenUnmix(nb_bins=9, hidden_size=4), OpenUnmix(nb_bins=9, hidden_size=4)
    >>> share([one, other])
    >>> other.lstm is one.lstm, other.fc2 is one.fc2
    (True, False)
    """
    first, *others = networks
    for other in others:
        for name in SHARED_LAYERS:
            setattr(other, name, getattr(first, name))
