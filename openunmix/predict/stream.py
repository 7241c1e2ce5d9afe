"""Streaming separation: blocks of a mixture in, blocks of estimates out.

Memory does not grow with the length of the signal. The mixture is cut into blocks of some
thousand frames. Forwards, recurrent layers go on from block to block; backwards, they begin some
seconds after each block. The Wiener filter works on the same windows as in
:class:`~openunmix.model.Separator`, counted from the start of the signal.

::

    samples -> Analysis -> encode -> recur (blocks) -> decode -> Wiener -> Synthesis -> samples

Everything but the backward layers is exact, and they forget: ``docs/performance.md`` shows how
little the context changes. ``StreamConfig(exact=True)`` runs them over the whole signal.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from openunmix.filtering._fast import WienerFilter
from openunmix.model import Separator
from openunmix.predict._networks import Networks, networks_of
from openunmix.predict._runtime import map_threads, usable_precision
from openunmix.transforms.fourier import _absolute
from openunmix.transforms.streaming import Analysis, Synthesis

__all__ = [
    "StreamConfig",
    "estimate_memory",
    "separate_blocks",
    "separate_channels",
    "separate_waveform",
]

# Samples that are transformed together; small, so that long blocks need no long buffers.
_PART = 262144

# Memory of a process before it separates anything: Python, torch and its thread pools.
_PROCESS = 300_000_000

_PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class StreamConfig:
    """Chunk lengths and precision: the trade-off between speed, memory and accuracy.

    Attributes
    ----------
    chunk : int
        Frames separated at once: 49 s at 44.1 kHz; up to five times as many for a signal in memory.
    lookahead : int
        Frames after a chunk that the networks see: 48 s at 44.1 kHz.
    segment : int
        Longest segment, in frames, passed to networks other than
        :class:`~openunmix.model.OpenUnmix`; they see ``lookahead`` frames on both sides of it.
    precision : str
        Of the networks: ``"float32"``, or ``"bf16"``, which is faster on processors that support
        it; others fall back to float32 with a warning.
    exact : bool
        Run the recurrent layers over the whole signal, which is read twice. Memory then grows
        by about 1 MB per second of audio, for four networks of hidden size 512.
    first_chunk : int
        Frames of the first chunk; short, for a low latency.
    """

    chunk: int = 2100
    lookahead: int = 2048
    segment: int = 4500
    precision: str = "float32"
    exact: bool = False
    first_chunk: int = 300

    def __post_init__(self) -> None:
        """Raise ValueError for settings out of range."""
        if min(self.chunk, self.segment, self.first_chunk) < 1 or self.lookahead < 0:
            raise ValueError(
                "chunk, segment and first_chunk must be positive, lookahead must not be negative: "
                f"{self}"
            )
        if self.precision not in _PRECISIONS:
            raise ValueError(
                f"precision={self.precision!r} is unknown; choose from {list(_PRECISIONS)}"
            )


class _Codes:
    """The frames that wait for their turn, as the codes that the networks made of them."""

    def __init__(self, networks: Networks, config: StreamConfig, bridged: bool) -> None:
        self.networks = networks
        self.bridged = bridged  # see openunmix.model.masks
        self.config = config
        self.count = 0  # frames that wait
        # Of each context, after the frames before.
        self._states: list[Any] = [None] * (max(networks.contexts) + 1)
        self._parts: list[Tensor] = []  # their codes

    def add(self, spectra: Tensor) -> None:
        """Encode frames (frames, channels, bins)."""
        if len(spectra):
            self.count += len(spectra)
            self._parts.append(self.networks.encode(_absolute(spectra)))

    def take(self, frames: int) -> tuple[Tensor, list[Tensor]]:
        """Remove the next frames; return their codes, and the context of each network."""
        joined = torch.cat(self._parts)
        self._parts = [joined[frames:].clone()]
        # Frames beyond the context may have come or not, depending on how the signal was cut.
        codes = joined if self.config.exact else joined[: frames + self.config.lookahead]

        def recur(index: int) -> tuple[Tensor, Any]:
            return self.networks.recur(index, codes, frames, self._states[index])

        found = map_threads(recur, range(len(self._states)), codes.device)
        contexts, self._states = map(list, zip(*found, strict=True))
        if self.bridged:
            contexts = [torch.stack(contexts).mean(dim=0)] * len(contexts)
        self.count -= frames
        return joined[:frames], [contexts[index] for index in self.networks.contexts]


class _Spectra:
    """The same frames once more, transformed when their turn comes: a waveform takes less room."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._frames: list[Tensor] = []
        self._count = 0

    def take(self, frames: int, waveform: Iterator[Tensor], samples: int) -> Tensor:
        """Return the next spectra (frames, channels, bins), with as much waveform as they need."""
        while self._count < frames:
            part = next(waveform, None)
            if part is None and self.analysis.samples != samples:
                raise ValueError(
                    f"the blocks had {samples} samples at first and {self.analysis.samples} when "
                    "they were read again; exact=True needs the same blocks twice"
                )
            spectra = self.analysis.finish() if part is None else self.analysis.push(part)
            self._frames.append(spectra)
            self._count += len(spectra)
        joined = torch.cat(self._frames)
        self._frames = [joined[frames:].clone()]
        self._count -= frames
        return joined[:frames]


class _Separation:
    """One run of the engine over one signal."""

    def __init__(self, separator: Separator, config: StreamConfig) -> None:
        self.separator = separator
        self.config = config
        self.device = next(separator.parameters()).device
        precision = usable_precision(config.precision, self.device)
        segment = None if config.exact else config.segment
        self.networks = networks_of(separator, _PRECISIONS[precision], segment, config.lookahead)
        self.codes = _Codes(self.networks, config, separator.bridged)
        self.spectra = _Spectra(self._analysis())
        self.synthesis = Synthesis(separator.n_fft, separator.n_hop, self.device)
        niter = separator.niter if len(separator.sources) > 1 else 0
        self.filter = WienerFilter(niter, separator.softmask, separator.residual)
        self.window = separator.wiener_win_len
        self.emitted = 0

    def _analysis(self) -> Analysis:
        """Return a new analysis."""
        separator = self.separator
        return Analysis(separator.nb_channels, separator.n_fft, separator.n_hop, self.device)

    def run(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Separate blocks of a signal."""
        if self.config.exact and iter(blocks) is blocks:
            raise ValueError("exact=True reads the blocks twice: give a list, not an iterator")
        analysis = self._analysis()
        waiting: deque[Tensor] = deque()
        for part in self._parts(blocks):
            self.codes.add(analysis.push(part))
            if not self.config.exact:
                waiting.append(part.clone())  # the caller may fill its buffer again
            while (block := self._block()) and self.codes.count >= block + self.config.lookahead:
                yield from self._separate(block, analysis.samples, _drain(waiting))
        if not analysis.samples:
            return
        self.codes.add(analysis.finish())
        waveform = self._parts(blocks) if self.config.exact else _drain(waiting)
        while (block := self._block()) and self.codes.count > block + self.config.lookahead:
            yield from self._separate(block, analysis.samples, waveform)
        yield from self._separate(self.codes.count, analysis.samples, waveform)
        yield self._trim(self.synthesis.finish(analysis.samples - self.emitted), analysis.samples)

    def _parts(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Blocks, checked and cut into parts of a handy size."""
        for block in blocks:
            if block.ndim != 2 or len(block) != self.separator.nb_channels:
                raise ValueError(
                    f"a block has shape {tuple(block.shape)}, expected (channels, samples) with "
                    f"channels={self.separator.nb_channels}"
                )
            yield from torch.split(block.to(self.device, torch.float32), _PART, dim=-1)

    def _block(self) -> int:
        """Frames to separate next, whole windows of the filter; 0 means all there are."""
        if self.window is None or self.config.exact:
            return 0
        config = self.config
        frames = config.chunk if self.emitted else min(config.chunk, config.first_chunk)
        return _whole_windows(frames, self.window)

    def _separate(self, frames: int, samples: int, waveform: Iterator[Tensor]) -> Iterator[Tensor]:
        """Separate the next frames, a window of the filter after the other."""
        step = self.window or frames
        codes, contexts = self.codes.take(frames)
        for start in range(0, frames, step):
            part = slice(start, min(start + step, frames))
            mixture = self.spectra.take(part.stop - part.start, waveform, samples)
            magnitudes = self._magnitudes(
                _absolute(mixture), codes[part], [c[part] for c in contexts]
            )
            yield self._trim(self.synthesis.push(self.filter(magnitudes, mixture)), samples)

    def _magnitudes(self, mixture: Tensor, codes: Tensor, contexts: list[Tensor]) -> Tensor:
        """Magnitudes (targets, frames, channels, bins) that the networks estimate."""
        magnitudes = mixture.new_empty(len(contexts), *mixture.shape)
        for index, context in enumerate(contexts):
            self.networks.decode(index, codes, context, mixture, magnitudes[index])
        return magnitudes

    def _trim(self, waveforms: Tensor, samples: int) -> Tensor:
        """Count samples, and leave out those after the end of a signal shorter than a window."""
        waveforms = waveforms[..., : samples - self.emitted]
        self.emitted += waveforms.shape[-1]
        return waveforms


def _whole_windows(frames: int, window: int) -> int:
    """Round a number of frames to whole windows of the filter, at least one."""
    return window * max(1, round(frames / window))


def _drain(waiting: deque[Tensor]) -> Iterator[Tensor]:
    """Remove and yield what waits."""
    while waiting:
        yield waiting.popleft()


@torch.no_grad()
def separate_blocks(
    separator: Separator, blocks: Iterable[Tensor], config: StreamConfig | None = None
) -> Iterator[Tensor]:
    """Separate a signal that arrives in blocks.

    Parameters
    ----------
    separator : Separator
        The networks and the settings of the filter; in evaluation mode.
    blocks : iterable of Tensor [shape=(channels, samples)], real
        Consecutive parts of the mixture, of any lengths, at the separator's sample rate.
    config : StreamConfig, optional
        How to trade speed for memory.

    Yields
    ------
    Tensor [shape=(targets, channels, samples)], real
        Consecutive parts of the estimates, in the order of ``separator.sources``; together as
        long as the mixture. They come in bursts of about a minute.

    Raises
    ------
    ValueError
        If a block has other axes or channels, or a network is in training mode.

    Examples
    --------
    >>> from openunmix.model import OpenUnmix
    >>> separator = Separator({"vocals": OpenUnmix(nb_bins=2049, hidden_size=8)})
    >>> separator.freeze()
    >>> noise = (torch.randn(2, 10000) for _ in range(20))
    >>> sum(estimate.shape[-1] for estimate in separate_blocks(separator, noise))
    200000
    """
    yield from _Separation(separator, config or StreamConfig()).run(blocks)


def estimate_memory(separator: Separator, config: StreamConfig | None = None) -> int:
    """Estimate the peak memory of a process that separates files, not counting the file itself.

    Parameters
    ----------
    separator : Separator
        The networks and the settings of the filter.
    config : StreamConfig, optional
        How to trade speed for memory. With ``exact`` the length of the file comes on top.

    Returns
    -------
    int
        Bytes; within a fifth of what was measured, see ``docs/performance.md``.
    """
    config = config or StreamConfig()
    channels, bins = separator.nb_channels, separator.n_fft // 2 + 1
    sources = len(separator.sources)
    window = separator.wiener_win_len or config.chunk
    weights = sum(parameter.nbytes for parameter in separator.parameters())
    trunks = {getattr(net, "trunk", net): net for net in separator.target_models.values()}
    hidden = [getattr(net, "hidden_size", bins) for net in trunks.values()]
    at_a_time = min(torch.get_num_threads(), len(hidden))  # see openunmix.predict._runtime
    per_frame = 4 * (channels * separator.n_hop + 2 * sum(hidden) + 7 * at_a_time * max(hidden))
    per_window_frame = sources * channels * bins * (4 + 8 + 3 * 8)
    frames = _whole_windows(config.chunk, window) + config.lookahead
    return _PROCESS + int(1.5 * weights) + frames * per_frame + window * per_window_frame


def separate_channels(
    separator: Separator,
    blocks: Iterable[Tensor],
    channels: int,
    config: StreamConfig | None = None,
) -> Iterator[Tensor]:
    """Separate a signal whose channels may differ from the networks'.

    A mono signal is shown to stereo networks on both channels, and the mean of theirs is the
    estimate. Networks of one channel separate the channels of a signal one by one; with
    ``exact`` the signal is held in memory then.

    Parameters
    ----------
    separator : Separator
        As for :func:`separate_blocks`.
    blocks : iterable of Tensor [shape=(channels, samples)], real
        Consecutive parts of the mixture.
    channels : int
        How many channels they have.
    config : StreamConfig, optional
        As for :func:`separate_blocks`.

    Yields
    ------
    Tensor [shape=(targets, channels, samples)], real
        Consecutive parts of the estimates.

    Raises
    ------
    ValueError
        If the signal has more channels than networks for several channels take.
    """
    if channels == separator.nb_channels:
        yield from separate_blocks(separator, blocks, config)
    elif channels == 1:
        copies = Rereadable(lambda: (block.expand(separator.nb_channels, -1) for block in blocks))
        for estimates in separate_blocks(separator, copies, config):
            yield estimates.mean(dim=1, keepdim=True)
    elif separator.nb_channels == 1:
        exact = config is not None and config.exact
        copied = [list(blocks)] * channels if exact else itertools.tee(blocks, channels)
        runs = [
            separate_blocks(separator, _one_channel(copy, channel), config)
            for channel, copy in enumerate(copied)
        ]
        for parts in zip(*runs, strict=True):
            yield torch.cat(parts, dim=1)
    else:
        raise ValueError(
            f"the signal has {channels} channels, but the networks take {separator.nb_channels}; "
            "mix it down first"
        )


class Rereadable(Iterable[Tensor]):
    """Blocks that can be read again: each reading calls a function for a new iterator."""

    def __init__(self, read: Callable[[], Iterator[Tensor]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Tensor]:
        return self._read()


def _one_channel(blocks: Iterable[Tensor], channel: int) -> Rereadable:
    """One channel of blocks: (channels, samples) to (1, samples)."""
    return Rereadable(lambda: (block[channel : channel + 1] for block in blocks))


def separate_waveform(
    separator: Separator, waveform: Tensor, config: StreamConfig | None = None
) -> Tensor:
    """Separate a signal in memory.

    Parameters
    ----------
    separator : Separator
        The networks and the settings of the filter; in evaluation mode.
    waveform : Tensor [shape=(channels, samples)], real
        The mixture, at the separator's sample rate; its channels as for
        :func:`separate_channels`.
    config : StreamConfig, optional
        How to trade speed for memory.

    Returns
    -------
    Tensor [shape=(targets, channels, samples)], real
        The estimates, in the order of ``separator.sources``.
    """
    if waveform.ndim != 2 or not waveform.numel():
        raise ValueError(
            f"the waveform has shape {tuple(waveform.shape)}, expected (channels, samples) with at "
            "least one sample"
        )
    channels, samples = waveform.shape
    device = next(separator.parameters()).device
    estimates = torch.empty(len(separator.sources), channels, samples, device=device)
    done = 0
    config = config or StreamConfig()
    # Nobody waits for the first estimates, and the signal takes as much memory as long blocks do.
    frames = samples // separator.n_hop + 1
    chunk = -(-frames // -(-frames // (5 * config.chunk)))
    config = replace(config, chunk=chunk, first_chunk=chunk)
    for part in separate_channels(separator, [waveform], channels, config):
        estimates[..., done : done + part.shape[-1]] = part
        done += part.shape[-1]
    return estimates
