"""Networks of several targets that share a trunk, or are bridged: additions to the paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from openunmix.model.architecture import MaskNetwork


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
    trunks = {network.trunk: network for network in networks}
    if not bridged and (() in trunks or len(trunks) == len(networks)):
        return [network.mask(magnitude) for network in networks]
    features = {trunk: network.encode(magnitude) for trunk, network in trunks.items()}
    if bridged:
        features = dict.fromkeys(trunks, torch.stack([*features.values()]).mean(dim=0))
    hidden = {trunk: network.recur(features[trunk]) for trunk, network in trunks.items()}
    if bridged:
        hidden = dict.fromkeys(trunks, torch.stack([*hidden.values()]).mean(dim=0))
    return [network.decode(features[network.trunk], hidden[network.trunk]) for network in networks]


def share(networks: Iterable[MaskNetwork]) -> None:
    """Replace the trunk of all networks by that of the first.

    Each network keeps its own layers after the trunk. Shared layers are trained by the losses of
    all targets and computed once, so they can be wider at equal cost.

    Parameters
    ----------
    networks : iterable of MaskNetwork
        Networks of one architecture; all but the first are changed.

    Raises
    ------
    ValueError
        If such networks have no trunk.

    Examples
    --------
    >>> from openunmix.model import OpenUnmix
    >>> one, other = OpenUnmix(nb_bins=9, hidden_size=4), OpenUnmix(nb_bins=9, hidden_size=4)
    >>> share([one, other])
    >>> other.lstm is one.lstm, other.fc2 is one.fc2
    (True, False)
    """
    first, *others = networks
    if not first.trunk_layers:
        raise ValueError(f"networks of {type(first).__name__} have no trunk to share")
    for other in others:
        for name in first.trunk_layers:
            setattr(other, name, getattr(first, name))
