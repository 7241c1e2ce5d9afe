"""From the waveform of a mixture to the waveforms of its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from openunmix.audio.waveform import Waveform, as_waveform
from openunmix.filtering._fast import WienerFilter
from openunmix.filtering.gaussian import wiener
from openunmix.model.architecture import MaskNetwork
from openunmix.model.network import OpenUnmix
from openunmix.model.sharing import masks
from openunmix.transforms import make_filterbanks
from openunmix.transforms.fourier import STFTConfig
from openunmix.transforms.settings import ExactSettings


class Separator(ExactSettings):
    """Separator: from the waveform of a mixture to the waveforms of its targets.

    Parameters
    ----------
    target_models : mapping of str to nn.Module
        A network per target, in the order of the estimates.
    niter : int
        Iterations of expectation maximization; 0 combines estimated magnitudes with the phase of
        the mixture, as does a single source, which cannot be refined.
    softmask : bool
        Start from ratio masks instead of the magnitudes themselves.
    residual : bool
        Add the residual as a last target, computed before any iteration.
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
        Whether the networks exchange features, see :func:`~openunmix.model.sharing.masks`.

    Examples
    --------
    >>> separator = Separator({"vocals": OpenUnmix(nb_bins=2049)}, niter=1)
    >>> separator.freeze()
    >>> separator(torch.zeros(1, 2, 44100)).shape
    torch.Size([1, 1, 2, 44100])
    """

    settings = ("sample_rate",)

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
        stft = STFTConfig(n_fft, n_hop, float(sample_rate))  # raises ValueError
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
        self.register_buffer("sample_rate", torch.tensor(stft.sample_rate, dtype=torch.float32))

    def freeze(self) -> None:
        """Switch to evaluation permanently: no dropout, running statistics, no gradients."""
        self.requires_grad_(False)
        self.eval()

    @property
    def sources(self) -> list[str]:
        """Names of the estimates, in order."""
        return [*self.target_models, *(["residual"] if self.residual else [])]

    def forward(self, audio: Waveform) -> Tensor:
        """Separate mixtures (batch, channels, samples) into (batch, targets, channels, samples).

        They are at the networks' sample rate, nominally within [-1, 1]; the batch axis may be
        missing from both. The estimates have the wider type of audio and networks. Raises
        ValueError for other axes or channels, and integers.
        """
        # Traced, it would return wrong estimates of signals of any other length.
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise RuntimeError(
                "a Separator cannot be traced, as its filter works in windows; trace its networks"
            )
        audio = as_waveform(audio)
        if audio.ndim not in (2, 3) or audio.shape[-2] != self.nb_channels:
            raise ValueError(
                f"audio has shape {tuple(audio.shape)}, expected (batch, channels, samples) or "
                f"(channels, samples) with channels={self.nb_channels}"
            )
        if audio.ndim == 2:
            return self.forward(audio.unsqueeze(0)).squeeze(0)
        network_type = next(self.target_models.parameters(), audio).dtype
        widest = torch.promote_types(audio.dtype, network_type)
        # Numbers of 16 bits are for the networks: torch has no Fourier transform of them.
        pairs = self.stft(audio.to(torch.promote_types(widest, torch.float32)))
        mixture = torch.view_as_complex(pairs.contiguous())  # (batch, channels, bins, frames)
        magnitude = mixture.abs()  # torch defines its gradient at 0 as 0
        magnitudes = torch.stack(self._magnitudes(magnitude.to(network_type)), dim=-1)
        estimates = torch.stack(
            [self._filter(m, x) for m, x in zip(magnitudes.to(magnitude), mixture, strict=True)]
        )
        waveforms: Tensor = self.istft(torch.view_as_real(estimates), length=audio.shape[-1])
        return waveforms.to(widest)

    def _magnitudes(self, mixture: Tensor) -> list[Tensor]:
        """Magnitudes of all targets, (batch, channels, bins, frames), from that of the mixture."""
        networks = list(self.target_models.values())
        own = [network for network in networks if isinstance(network, MaskNetwork)]
        trunks = {network.trunk for network in own}
        if not self.bridged and (len(own) < len(networks) or len(trunks) == len(own)):
            return [network(mixture) for network in networks]
        frames_first = mixture.permute(3, 0, 1, 2)
        estimated = masks(own, frames_first, self.bridged)
        return [(mask * frames_first).permute(1, 2, 3, 0) for mask in estimated]

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
        # Without gradients, a faster implementation of the same.
        magnitudes = magnitudes.permute(3, 2, 0, 1)  # (targets, frames, channels, bins)
        mixture = mixture.permute(2, 0, 1)
        fast = WienerFilter(niter, self.softmask, self.residual)
        estimates = [fast(magnitudes[:, w], mixture[w]).clone() for w in windows]
        return torch.cat(estimates, dim=1).permute(0, 2, 3, 1)

    def to_dict(
        self, estimates: Tensor, aggregate_dict: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, Tensor]:
        """Return estimates (..., targets, channels, samples) by name.

        With ``aggregate_dict`` only sums are returned: of the targets listed for each new name.
        Raises ValueError if a sum is empty or of an unknown target.
        """
        named = dict(zip(self.sources, estimates.unbind(dim=-3), strict=True))
        if aggregate_dict is None:
            return named
        for name, parts in aggregate_dict.items():
            if not parts or not set(parts) <= set(named):
                raise ValueError(
                    f"cannot make {name!r} from {list(parts)}: choose at least one of {list(named)}"
                )
        return {
            name: torch.stack([named[part] for part in parts]).sum(dim=0)
            for name, parts in aggregate_dict.items()
        }
