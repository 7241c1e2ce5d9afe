r"""The mask network of one target, and the separator built from several of them.

:class:`OpenUnmix` estimates the magnitude of one target from the magnitude of the mixture:
a dense layer compresses each frame, three recurrent layers look at the past and the future,
two dense layers expand the result to a mask that multiplies the mixture [1]_.
:class:`Separator` runs one network per target and turns their magnitudes into waveforms with
the multichannel Wiener filter of :mod:`openunmix.filtering.gaussian`.

References
----------
.. [1] F.-R. Stöter, S. Uhlich, A. Liutkus, Y. Mitsufuji, "Open-Unmix - A Reference
   Implementation for Music Source Separation", Journal of Open Source Software 4(41):1667, 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from openunmix.filtering._fast import WienerFilter
from openunmix.filtering.gaussian import wiener
from openunmix.transforms import make_filterbanks

__all__ = ["SHARED", "OpenUnmix", "Separator", "compressed", "masks", "share"]

#: What shared networks have in common: all that comes before the last two dense layers.
SHARED = ("fc1", "bn1", "lstm", "input_mean", "input_scale", "input_power")

# Magnitudes below this one are compressed as if they were this one, where the slope is finite.
_LEAST = 1e-12


class OpenUnmix(nn.Module):
    """Network that estimates the magnitude spectrogram of one target.

    Parameters
    ----------
    nb_bins : int
        Frequency bins of the spectrogram, ``n_fft // 2 + 1``.
    nb_channels : int
        Audio channels.
    hidden_size : int
        Width of the dense bottleneck and of the recurrent layers; even, unless ``unidirectional``.
    nb_layers : int
        Number of stacked LSTM layers.
    unidirectional : bool
        Look only at the past, as a causal system must.
    input_mean, input_scale : array of shape (nb_bins,), optional
        Mean and standard deviation of the training mixtures per bin; 0 and 1 if not given.
    max_bin : int, optional
        The network sees only bins below this one; all ``nb_bins`` if not given. The mask covers
        all bins in any case.
    dropout : float
        Share of the values between recurrent layers that training leaves out.
    input_power : float
        Exponent of the magnitudes that the network sees, see :func:`compressed`; 1 in openunmix
        1.3.0. The mask multiplies the magnitudes themselves in any case.
    """

    input_power: Tensor | None

    def __init__(
        self,
        nb_bins: int = 4096,
        nb_channels: int = 2,
        hidden_size: int = 512,
        nb_layers: int = 3,
        unidirectional: bool = False,
        input_mean: np.ndarray | Tensor | None = None,
        input_scale: np.ndarray | Tensor | None = None,
        max_bin: int | None = None,
        dropout: float = 0.4,
        input_power: float = 1.0,
    ) -> None:
        super().__init__()
        if not unidirectional and hidden_size % 2:
            raise ValueError(f"hidden_size={hidden_size} must be even for a bidirectional network")
        if not 0 < input_power <= 1:
            raise ValueError(f"input_power={input_power} must be more than 0, and 1 at most")
        self.nb_output_bins = nb_bins
        self.nb_bins = max_bin if max_bin else nb_bins
        self.nb_channels = nb_channels
        self.hidden_size = hidden_size
        self.nb_layers = nb_layers
        self.unidirectional = unidirectional

        self.fc1 = nn.Linear(self.nb_bins * nb_channels, hidden_size, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden_size)
        self.lstm = nn.LSTM(
            input_size=hidden_size,
            hidden_size=hidden_size if unidirectional else hidden_size // 2,
            num_layers=nb_layers,
            bidirectional=not unidirectional,
            dropout=dropout if nb_layers > 1 else 0.0,
        )
        self.fc2 = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.bn2 = nn.BatchNorm1d(hidden_size)
        self.fc3 = nn.Linear(hidden_size, nb_bins * nb_channels, bias=False)
        self.bn3 = nn.BatchNorm1d(nb_bins * nb_channels)

        # Stored as what is added and multiplied, so that 1.3.0's state dicts mean the same here.
        # Without statistics, nothing is computed: on the meta device that would load all of dynamo.
        added, multiplied = torch.zeros(self.nb_bins), torch.ones(self.nb_bins)
        if input_mean is not None:
            added = -_statistic(input_mean, self.nb_bins, "input_mean")
        if input_scale is not None:
            multiplied = 1.0 / _statistic(input_scale, self.nb_bins, "input_scale")
        self.input_mean = nn.Parameter(added)
        self.input_scale = nn.Parameter(multiplied)
        self.output_scale = nn.Parameter(torch.ones(nb_bins))
        self.output_mean = nn.Parameter(torch.ones(nb_bins))
        # Kept with the weights, which mean nothing without it, and absent where 1.3.0 has none.
        power = None if input_power == 1 else torch.tensor(float(input_power))
        self.register_buffer("input_power", power)

    @property
    def architecture(self) -> dict[str, Any]:
        """Arguments that make a network of the same architecture, by name."""
        return {
            "nb_bins": self.nb_output_bins,
            "nb_channels": self.nb_channels,
            "hidden_size": self.hidden_size,
            "nb_layers": self.nb_layers,
            "unidirectional": self.unidirectional,
            "max_bin": self.nb_bins,
            "input_power": 1.0 if self.input_power is None else float(self.input_power),
        }

    @property
    def front(self) -> tuple[nn.Module, ...]:
        """Layers before the last two dense ones; shared networks have the same, see `share`."""
        return self.fc1, self.bn1, self.lstm

    def freeze(self) -> None:
        """Switch to evaluation for good: no dropout, running statistics, no gradients."""
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Estimate the target's magnitude.

        Parameters
        ----------
        x : Tensor [shape=(batch, channels, bins, frames)], real, non-negative
            Magnitude of the mixture.

        Returns
        -------
        Tensor [shape=(batch, channels, bins, frames)], real, non-negative
            Magnitude of the target: the mixture times a mask, which may exceed 1.
        """
        frames_first = x.permute(3, 0, 1, 2)
        return (self.mask(frames_first) * frames_first).permute(1, 2, 3, 0)

    def mask(self, magnitude: Tensor) -> Tensor:
        """Estimate the factor between the mixture's magnitude and the target's.

        Parameters
        ----------
        magnitude : Tensor [shape=(frames, batch, channels, bins)], real, non-negative
            Magnitude of the mixture, frames first as the recurrent layers want it.

        Returns
        -------
        Tensor [shape=(frames, batch, channels, bins)], real, non-negative
            The mask.
        """
        channels, bins = magnitude.shape[2:]
        if (channels, bins) != (self.nb_channels, self.nb_output_bins):
            raise ValueError(
                f"the input has channels={channels} and bins={bins}, but this network was made for "
                f"channels={self.nb_channels} and bins={self.nb_output_bins}"
            )
        code = self.encode(magnitude)
        return self.decode(code, self.recur(code))

    def encode(self, magnitude: Tensor) -> Tensor:
        """Look at each frame alone.

        Parameters
        ----------
        magnitude : Tensor [shape=(frames, batch, channels, bins)], real, non-negative
            Magnitude of the mixture.

        Returns
        -------
        Tensor [shape=(frames, batch, hidden)], real, within (-1, 1)
            A code of every frame.
        """
        frames, batch = magnitude.shape[:2]
        # W ((x + m) s) = (W s) x + (W s) m, so that neither the standardisation nor its gradient
        # takes time for every frame.
        weight = self.fc1.weight.reshape(self.hidden_size, self.nb_channels, self.nb_bins)
        weight = weight * self.input_scale
        bias = (weight * self.input_mean).sum(dim=(1, 2))
        visible = compressed(magnitude[..., : self.nb_bins], self.input_power)
        visible = visible.reshape(frames * batch, -1)
        code = self.bn1(functional.linear(visible, weight.flatten(1), bias))
        return torch.tanh(code).reshape(frames, batch, self.hidden_size)

    def recur(self, code: Tensor) -> Tensor:
        """Look at the frames around each frame.

        Parameters
        ----------
        code : Tensor [shape=(frames, batch, hidden)], real
            What :meth:`encode` returned.

        Returns
        -------
        Tensor [shape=(frames, batch, hidden)], real
            The context of every frame.
        """
        context: Tensor = self.lstm(code)[0]
        return context

    def decode(self, code: Tensor, context: Tensor) -> Tensor:
        """Estimate the mask of each frame.

        Parameters
        ----------
        code, context : Tensor [shape=(frames, batch, hidden)], real
            What :meth:`encode` and :meth:`recur` returned.

        Returns
        -------
        Tensor [shape=(frames, batch, channels, bins)], real, non-negative
            The mask.
        """
        frames, batch, _ = code.shape
        joined = torch.cat([code, context], dim=-1).reshape(frames * batch, -1)
        decoded = torch.relu(self.bn2(self.fc2(joined)))
        # (g x + b) s + m = (g s) x + (b s + m): as above.
        scale = self.output_scale.repeat(self.nb_channels)
        mean = self.output_mean.repeat(self.nb_channels)
        affine = {"weight": self.bn3.weight * scale, "bias": self.bn3.bias * scale + mean}
        expanded = torch.func.functional_call(self.bn3, affine, self.fc3(decoded))
        mask = torch.relu(expanded)
        return mask.reshape(frames, batch, self.nb_channels, self.nb_output_bins)


def compressed(magnitude: Tensor, power: Tensor | None) -> Tensor:
    r"""Compress magnitudes by a power law, :math:`|X|^p`.

    What is quiet then counts nearly as much as what is loud, and a song's level matters less: with
    :math:`p = 0.25`, 12 dB become 3 dB.

    Parameters
    ----------
    magnitude : Tensor, real, non-negative
        Magnitudes.
    power : Tensor [shape=()] or None
        The exponent; None for 1.

    Returns
    -------
    Tensor, real, non-negative
        As many as there were.

    Examples
    --------
    >>> compressed(torch.tensor([0.0, 0.0625, 1.0]), torch.tensor(0.25))
    tensor([0.0010, 0.5000, 1.0000])
    """
    return magnitude if power is None else magnitude.clamp(min=_LEAST).pow(power)


def masks(networks: Sequence[OpenUnmix], magnitude: Tensor, bridged: bool = False) -> list[Tensor]:
    """Masks that several networks estimate for the same mixture.

    What networks share, see :func:`share`, is computed once.

    Parameters
    ----------
    networks : sequence of OpenUnmix
        One per target.
    magnitude : Tensor [shape=(frames, batch, channels, bins)], real, non-negative
        Magnitude of the mixture.
    bridged : bool
        Show every network the mean of all codes, and then the mean of all contexts, as in
        CrossNet-Open-Unmix [1]_; such networks are trained and used together.

    Returns
    -------
    list of Tensor [shape=(frames, batch, channels, bins)], real, non-negative
        A mask per network.

    References
    ----------
    .. [1] R. Sawata, S. Uhlich, S. Takahashi, Y. Mitsufuji, "All for one and one for all:
       Improving music separation by bridging networks", ICASSP, 2021.
    """
    fronts = {network.front: network for network in networks}
    codes = {front: network.encode(magnitude) for front, network in fronts.items()}
    if bridged:
        codes = dict.fromkeys(fronts, torch.stack([*codes.values()]).mean(dim=0))
    contexts = {front: network.recur(codes[front]) for front, network in fronts.items()}
    if bridged:
        contexts = dict.fromkeys(fronts, torch.stack([*contexts.values()]).mean(dim=0))
    return [network.decode(codes[network.front], contexts[network.front]) for network in networks]


def share(networks: Iterable[OpenUnmix]) -> None:
    """Let networks have the encoder and the recurrent layers of the first one for their own.

    Of each network its last two dense layers are left. Targets that are learnt together teach the
    layers that they share, which are computed once and can be wider for that.

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
        for name in SHARED:
            setattr(other, name, getattr(first, name))


def _statistic(values: np.ndarray | Tensor, bins: int, name: str) -> Tensor:
    """Return per-bin statistics as a new float32 tensor of shape (bins,)."""
    statistic = torch.as_tensor(values, dtype=torch.float32)[:bins].clone()
    if statistic.shape != (bins,):
        raise ValueError(f"{name} has shape {tuple(statistic.shape)}, expected at least ({bins},)")
    return statistic


class Separator(nn.Module):
    """From the waveform of a mixture to the waveforms of its targets.

    Parameters
    ----------
    target_models : mapping of str to nn.Module
        A network per target, in the order of the result.
    niter : int
        Iterations of expectation maximization after the networks; 0 uses their magnitudes with
        the mixture's phase. One source alone cannot be refined, so it is taken as 0 then.
    softmask : bool
        Start from ratio masks rather than from the magnitudes themselves.
    residual : bool
        Add a last target: what the others leave of the mixture, before any iteration.
    sample_rate : float
        Sample rate of the networks in Hz.
    n_fft, n_hop : int
        Window and hop length of the STFT in samples.
    nb_channels : int
        Audio channels of the networks.
    wiener_win_len : int or None
        Frames of the windows that are filtered independently, 7 s by default at 44.1 kHz;
        None filters the whole signal at once.
    filterbank : str
        ``"torch"``, or ``"asteroid"`` with the package ``asteroid-filterbanks``.
    bridged : bool
        Whether the networks share codes and contexts, see :func:`masks`.

    Examples
    --------
    >>> separator = Separator({"vocals": OpenUnmix(nb_bins=2049)}, niter=1)
    >>> separator.freeze()
    >>> separator(torch.zeros(1, 2, 44100)).shape
    torch.Size([1, 1, 2, 44100])
    """

    sample_rate: Tensor

    def __init__(
        self,
        target_models: Mapping[str, nn.Module],
        niter: int = 0,
        softmask: bool = False,
        residual: bool = False,
        sample_rate: float = 44100.0,
        n_fft: int = 4096,
        n_hop: int = 1024,
        nb_channels: int = 2,
        wiener_win_len: int | None = 300,
        filterbank: str = "torch",
        bridged: bool = False,
    ) -> None:
        super().__init__()
        if not target_models:
            raise ValueError("target_models is empty; give at least one network")
        if wiener_win_len is not None and wiener_win_len < 1:
            raise ValueError(f"wiener_win_len={wiener_win_len} must be None or at least 1 frame")
        if bridged and not all(isinstance(net, OpenUnmix) for net in target_models.values()):
            raise ValueError("bridged=True needs networks that are all OpenUnmix")
        self.niter = niter
        self.residual = residual
        self.softmask = softmask
        self.wiener_win_len = wiener_win_len
        self.bridged = bridged
        self.stft, self.istft = make_filterbanks(
            n_fft=n_fft, n_hop=n_hop, center=True, sample_rate=sample_rate, method=filterbank
        )
        self.target_models = nn.ModuleDict(target_models)
        self.nb_targets = len(self.target_models)
        self.n_fft = n_fft
        self.n_hop = n_hop
        self.nb_channels = nb_channels
        self.register_buffer("sample_rate", torch.as_tensor(float(sample_rate)))

    def freeze(self) -> None:
        """Switch to evaluation for good: no dropout, running statistics, no gradients."""
        self.requires_grad_(False)
        self.eval()

    @property
    def sources(self) -> list[str]:
        """Names of what :meth:`forward` returns, in order."""
        return [*self.target_models, *(["residual"] if self.residual else [])]

    def forward(self, audio: Tensor) -> Tensor:
        """Separate mixtures.

        Parameters
        ----------
        audio : Tensor [shape=(batch, channels, samples) or (channels, samples)], real
            Waveforms at the networks' sample rate, nominally within [-1, 1].

        Returns
        -------
        Tensor [shape=(batch, targets, channels, samples)], real
            The estimates; without the batch axis where the input has none.

        Raises
        ------
        ValueError
            If the axes or the number of channels are not those above.
        """
        self._check(audio)
        if audio.ndim == 2:
            return self.forward(audio.unsqueeze(0)).squeeze(0)
        pairs = self.stft(audio)
        # A zero's gradient is not defined by abs(); torch gives 0 there, which is what we want.
        mixture = torch.view_as_complex(pairs.contiguous())  # (batch, channels, bins, frames)
        magnitude = mixture.abs()
        magnitudes = torch.stack(self._magnitudes(magnitude), dim=-1)
        estimates = torch.stack(
            [self._filter(m, x) for m, x in zip(magnitudes, mixture, strict=True)]
        )
        waveforms: Tensor = self.istft(torch.view_as_real(estimates), length=audio.shape[-1])
        return waveforms

    def _magnitudes(self, mixture: Tensor) -> list[Tensor]:
        """Magnitude of each target from that of the mixture, (batch, channels, bins, frames)."""
        networks = list(self.target_models.values())
        own = [network for network in networks if isinstance(network, OpenUnmix)]
        fronts = {network.front for network in own}
        if not self.bridged and (len(own) < len(networks) or len(fronts) == len(own)):
            return [network(mixture) for network in networks]
        frames_first = mixture.permute(3, 0, 1, 2)
        estimated = masks(own, frames_first, self.bridged)
        return [(mask * frames_first).permute(1, 2, 3, 0) for mask in estimated]

    def _check(self, audio: Tensor) -> None:
        """Raise if the axes are not (batch, channels, samples) or (channels, samples)."""
        if audio.ndim not in (2, 3) or audio.shape[-2] != self.nb_channels:
            raise ValueError(
                f"audio has shape {tuple(audio.shape)}, expected (batch, channels, samples) or "
                f"(channels, samples) with channels={self.nb_channels}"
            )

    def _filter(self, magnitudes: Tensor, mixture: Tensor) -> Tensor:
        """Wiener filter of one item, in windows: (channels, bins, frames[, targets]) to STFTs."""
        niter = self.niter if len(self.sources) > 1 else 0
        window = self.wiener_win_len or mixture.shape[-1]
        windows = [slice(t, t + window) for t in range(0, mixture.shape[-1], window)]
        if magnitudes.requires_grad or mixture.requires_grad:
            magnitudes = magnitudes.permute(2, 1, 0, 3)  # (frames, bins, channels, targets)
            mixture = mixture.permute(2, 1, 0)
            estimates = [
                wiener(magnitudes[w], mixture[w], niter, self.softmask, self.residual)
                for w in windows
            ]
            return torch.cat(estimates).permute(3, 2, 1, 0)
        magnitudes = magnitudes.permute(3, 2, 0, 1)  # (targets, frames, channels, bins)
        mixture = mixture.permute(2, 0, 1)
        fast = WienerFilter(niter, self.softmask, self.residual)
        estimates = [fast(magnitudes[:, w], mixture[w]).clone() for w in windows]
        return torch.cat(estimates, dim=1).permute(0, 2, 3, 1)

    def to_dict(
        self, estimates: Tensor, aggregate_dict: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, Tensor]:
        """Name the estimates, and sum them where asked.

        Parameters
        ----------
        estimates : Tensor [shape=(..., targets, channels, samples)], real
            What :meth:`forward` returned.
        aggregate_dict : mapping of str to list of str, optional
            New names and the targets to sum for each. It replaces the set of results.

        Returns
        -------
        dict of str to Tensor [shape=(..., channels, samples)]
            A waveform per name.

        Raises
        ------
        ValueError
            If a sum is empty or asks for a target that is not there.
        """
        named = dict(zip(self.sources, estimates.unbind(dim=-3), strict=True))
        if aggregate_dict is None:
            return named
        return {name: _sum(named, name, parts) for name, parts in aggregate_dict.items()}


def _sum(named: Mapping[str, Tensor], name: str, parts: Sequence[str]) -> Tensor:
    """Sum of the named estimates."""
    unknown = [part for part in parts if part not in named]
    if unknown or not parts:
        raise ValueError(
            f"cannot make {name!r} from {list(parts)}: choose at least one of {list(named)}"
        )
    return torch.stack([named[part] for part in parts]).sum(dim=0)
