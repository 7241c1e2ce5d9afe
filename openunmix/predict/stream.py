"""Streaming separation at the model's sample rate, in memory that does not grow with the signal.

::

    samples -> Analysis -> encode -> recurrent layers -> decode -> Wiener -> Synthesis -> samples
                           frames         chunks         frames    windows

The forward LSTM carries its state from chunk to chunk. The backward LSTM starts ``lookahead``
frames after the chunk, and forgets: ``docs/performance.md`` shows how little that changes. The
other steps work on single frames, or on the same windows as in
:class:`~openunmix.model.Separator`, so they are exact.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openunmix.filtering._fast import WienerFilter
from openunmix.model import Separator
from openunmix.predict._networks import ModuleNetworks, Networks, networks_of
from openunmix.predict._runtime import SEQUENTIAL, Task, Tasks, usable_precision
from openunmix.predict._trust import trusted
from openunmix.transforms.fourier import magnitude
from openunmix.transforms.streaming import Analysis, Synthesis

# Samples transformed at once; few, so that long blocks need no long buffers.
_PART = 262144

# Windows of the filter that are computed at the same time: each takes some 100 MB of memory.
WINDOWS_AT_ONCE = 4

_PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class StreamConfig:
    """Chunk lengths and precision: the trade-off between speed, memory and accuracy."""

    #: Frames separated at once, 49 s at 44.1 kHz; five times as many for a signal in memory.
    chunk: int = 2100
    #: Frames after a chunk that the networks see, 48 s at 44.1 kHz.
    lookahead: int = 2048
    #: Longest segment, in frames, for networks other than :class:`~openunmix.model.OpenUnmix`;
    #: they see ``lookahead`` frames on both sides of it.
    segment: int = 4500
    #: Of the networks: ``"float32"``, or ``"bf16"``, which is faster on processors that support it;
    #: others fall back to float32 with a warning.
    precision: str = "float32"
    #: Run the recurrent layers over the whole signal, which is read twice. Memory then grows by
    #: about 1 MB per second of audio, for four networks of hidden size 512.
    exact: bool = False
    #: Frames of the first chunk; short, for a low latency.
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


class _Features:
    """Queue of the frames to be separated, as the features that the networks compute of them."""

    def __init__(
        self,
        networks: Networks,
        analysis: Analysis,
        config: StreamConfig,
        tasks: Tasks,
        bridged: bool,
    ) -> None:
        self.networks = networks
        self.bridged = bridged
        self.analysis = analysis
        self.config = config
        self.tasks = tasks
        self.count = 0  # frames in the queue
        self._left = torch.empty(0)  # features that the last chunk has left over
        self._queue: deque[Task[Tensor]] = deque()
        # States of each trunk's recurrent layers, after the frames taken so far.
        self._states: list[Any] = [None] * (max(networks.trunk_of) + 1)

    def add(self, part: Tensor | None) -> None:
        """Encode a part of the waveform, or what follows from its end, and append the features."""
        if part is None:
            self.analysis.end()
        else:
            self.analysis.append(part)
        if frames := self.analysis.frames:
            self.count += frames
            self._queue.append(self.tasks.start(self._encode, self.analysis.cut(frames)))
        # Blocks may come faster than they are encoded.
        if len(self._queue) > 2 * self.tasks.threads:
            self._queue[-2 * self.tasks.threads].result()

    def _encode(self, samples: Tensor) -> Tensor:
        return self.networks.encode(magnitude(self.analysis.transform(samples)))

    def take(self, frames: int) -> tuple[Tensor, list[Tensor]]:
        """Remove a chunk; return its features and each network's hidden states (frames, hidden)."""
        arrived = [task.result() for task in self._queue]
        self._queue.clear()
        queued = torch.cat([self._left, *arrived] if len(self._left) else arrived)
        self._left = queued[frames:].clone()  # a view would keep the taken frames in memory
        # Whether more than the lookahead is queued depends on the caller's blocks: the result must
        # not, so it is cropped.
        seen = queued if self.config.exact else queued[: frames + self.config.lookahead]

        def run(trunk: int) -> tuple[Tensor, Any]:
            state = self._states[trunk]
            return self.networks.run_recurrent(trunk, seen, frames, state, self.tasks)

        results = self.tasks.map(run, range(len(self._states)))
        hidden, self._states = map(list, zip(*results, strict=True))
        if self.bridged:  # see openunmix.model.sharing.masks
            hidden = [torch.stack(hidden).mean(dim=0)] * len(hidden)
        self.count -= frames
        return queued[:frames], [hidden[trunk] for trunk in self.networks.trunk_of]


class _Window(NamedTuple):
    """A window of the filter: samples of the mixture, features, and each network's states."""

    samples: Tensor
    features: Tensor
    hidden: list[Tensor]


class _Separation:
    """One run of the engine over one signal."""

    def __init__(self, separator: Separator, config: StreamConfig) -> None:
        self.separator = separator
        self.device = next(separator.parameters()).device
        precision = usable_precision(config.precision, self.device)
        segment = None if config.exact else config.segment
        self.networks = networks_of(separator, _PRECISIONS[precision], segment, config.lookahead)
        if self.networks.causal:  # they make nothing of later frames
            config = replace(config, lookahead=0)
        self.config = config
        # Networks of others that are fewer than torch's threads had better have all of them.
        others = isinstance(self.networks, ModuleNetworks)
        few = len(set(self.networks.trunk_of)) < torch.get_num_threads()
        self.tasks = Tasks(self.device, sequential=others and few)
        self.features = _Features(
            self.networks, self._analysis(), config, self.tasks, separator.bridged
        )
        # A second analysis, behind the first by a chunk and its lookahead: the waveform takes less
        # memory than its spectra.
        self.analysis = self._analysis()
        self.synthesis = Synthesis(separator.n_fft, separator.n_hop, self.device)
        self.window = separator.wiener_win_len
        # Threads share out windows, or, if the whole song is one, the parts of its computation.
        self._windows, self._within = self.tasks, SEQUENTIAL
        if self.window is None:
            self._windows, self._within = SEQUENTIAL, self.tasks
        self.emitted = 0  # samples
        self._buffers = threading.local()  # a filter for each thread

    def _analysis(self) -> Analysis:
        separator = self.separator
        return Analysis(separator.nb_channels, separator.n_fft, separator.n_hop, self.device)

    def run(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Separate blocks (channels, samples) into blocks (targets, channels, samples)."""
        exact, lookahead = self.config.exact, self.config.lookahead
        if exact and iter(blocks) is blocks:
            raise ValueError("exact=True reads the blocks twice: give a list, not an iterator")
        steps, features = self.tasks.steps, self.features
        samples = 0
        waiting: deque[Tensor] = deque()  # waveform whose features are queued
        for part in self._parts(blocks):
            samples += part.shape[-1]
            copy = self.tasks.run(part.clone)  # the caller may reuse its buffer
            self.tasks.run(partial(features.add, copy))
            if not exact:
                waiting.append(copy)
            # Chunks whose lookahead has arrived.
            while (chunk := self._next_chunk()) and features.count >= chunk + lookahead:
                yield from steps(self._separate(chunk, samples, _drain(waiting)))
        if not samples:
            return
        self.tasks.run(partial(features.add, None))
        # exact: the first reading has computed the features, the second supplies the spectra
        waveform = self._parts(blocks) if exact else _drain(waiting)
        while (chunk := self._next_chunk()) and features.count > chunk + lookahead:
            yield from steps(self._separate(chunk, samples, waveform))
        # All frames that are left see the end of the signal, so they are one chunk.
        yield from steps(self._separate(features.count, samples, waveform))
        yield self._trim(self.synthesis.finish(samples - self.emitted), samples)

    def _parts(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Check blocks and cut them into parts of at most ``_PART`` samples."""
        for block in blocks:
            if block.ndim != 2 or len(block) != self.separator.nb_channels:
                raise ValueError(
                    f"a block has shape {tuple(block.shape)}, expected (channels, samples) with "
                    f"channels={self.separator.nb_channels}"
                )
            yield from torch.split(block.to(self.device, torch.float32), _PART, dim=-1)

    def _next_chunk(self) -> int:
        """Frames of the next chunk, whole windows and steps; 0 for the whole signal."""
        if self.window is None or self.config.exact:
            return 0
        config = self.config
        frames = config.chunk if self.emitted else min(config.chunk, config.first_chunk)
        return whole_windows(frames, math.lcm(self.window, self.networks.stride))

    def _separate(self, frames: int, samples: int, waveform: Iterator[Tensor]) -> Iterator[Tensor]:
        """Separate the next chunk, the windows of the filter in several threads."""
        features, hidden = self.features.take(frames)

        def windows() -> Iterator[_Window]:
            window = self.window or frames
            for start in range(0, frames, window):
                part = slice(start, min(start + window, frames))
                mixture = self._mixture(part.stop - part.start, waveform, samples)
                yield _Window(mixture, features[part], [states[part] for states in hidden])

        ahead = min(self.tasks.threads, WINDOWS_AT_ONCE)
        for numerator in self._windows.stream(self._estimate, windows(), ahead):
            yield self._trim(self.synthesis.add(numerator), samples)

    def _mixture(self, frames: int, waveform: Iterator[Tensor], samples: int) -> Tensor:
        """Return the samples of the next frames, and consume the waveform they need."""
        while self.analysis.frames < frames:
            if (part := next(waveform, None)) is not None:
                self.analysis.append(part)
            elif self.analysis.samples == samples:
                self.analysis.end()
            else:
                raise ValueError(
                    f"the blocks had {samples} samples at first and {self.analysis.samples} when "
                    "they were read again; exact=True needs the same blocks twice"
                )
        return self.analysis.cut(frames)

    def _estimate(self, window: _Window) -> Tensor:
        """Estimates (targets, channels, samples) of a window, to be overlapped and normalised."""
        mixture = self.analysis.transform(window.samples)
        level = magnitude(mixture)
        magnitudes = level.new_empty(len(window.hidden), *level.shape)

        def decode(network: int) -> None:
            states = window.hidden[network]
            self.networks.decode(network, window.features, states, level, magnitudes[network])

        self._within.map(decode, range(len(window.hidden)))
        return self.synthesis.transform(self._filter()(magnitudes, mixture), self._within.map)

    def _filter(self) -> WienerFilter:
        """Return the filter of the current thread, whose buffers are used again."""
        if not hasattr(self._buffers, "filter"):
            separator = self.separator
            # A single source cannot be refined: its gain would be the identity.
            niter = separator.niter if len(separator.sources) > 1 else 0
            self._buffers.filter = WienerFilter(
                niter, separator.softmask, separator.residual, self._within.map
            )
        made: WienerFilter = self._buffers.filter
        return made

    def _trim(self, waveforms: Tensor, samples: int) -> Tensor:
        """Count samples and cut off the padding of a signal shorter than a window."""
        waveforms = waveforms[..., : samples - self.emitted]
        self.emitted += waveforms.shape[-1]
        return waveforms


def whole_windows(frames: int, window: int) -> int:
    """Round a number of frames to whole windows of the filter, at least one."""
    return window * max(1, round(frames / window))


def _drain(waiting: deque[Tensor]) -> Iterator[Tensor]:
    """Remove and yield the items of a queue."""
    while waiting:
        yield waiting.popleft()


@torch.no_grad()
def separate_blocks(
    separator: Separator, blocks: Iterable[Tensor], config: StreamConfig | None = None
) -> Iterator[Tensor]:
    """Separate a signal that arrives in blocks (channels, samples) of any lengths.

    The separator is in evaluation mode and the blocks are at its sample rate. Yields consecutive
    parts of the estimates (targets, channels, samples), in the order of ``separator.sources``, in
    bursts of a chunk; together they are as long as the mixture.

    Examples
    --------
    >>> from openunmix.model import OpenUnmix
    >>> separator = Separator({"vocals": OpenUnmix(nb_bins=2049, hidden_size=8)})
    >>> separator.freeze()
    >>> noise = (torch.randn(2, 10000) for _ in range(20))
    >>> sum(estimate.shape[-1] for estimate in separate_blocks(separator, noise))
    200000
    """

    def run(made: Separator, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        with (separation := _Separation(made, config or StreamConfig())).tasks:
            yield from separation.run(blocks)

    yield from run(*trusted(separator, blocks, run))


def separate_channels(
    separator: Separator,
    blocks: Iterable[Tensor],
    channels: int,
    config: StreamConfig | None = None,
) -> Iterator[Tensor]:
    """Separate blocks (channels, samples) whose channels may differ from those of the networks.

    Stereo networks see a mono signal on both channels, and the mean of their outputs is the
    estimate. Mono networks separate the channels one by one; with ``exact`` the signal is held in
    memory then. More channels than stereo networks support raise ValueError.
    """
    if channels == separator.nb_channels:
        yield from separate_blocks(separator, blocks, config)
    elif channels == 1:
        copies = Rereadable(lambda: (block.expand(separator.nb_channels, -1) for block in blocks))
        for estimates in separate_blocks(separator, copies, config):
            yield estimates.mean(dim=1, keepdim=True)
    elif separator.nb_channels == 1:
        exact = config is not None and config.exact
        # The runs advance together, so tee holds the blocks of a chunk; exact runs do not.
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


@dataclass
class Rereadable(Iterable[Tensor]):
    """Blocks that can be read again: each reading calls a function for a new iterator."""

    read: Callable[[], Iterator[Tensor]]

    def __iter__(self) -> Iterator[Tensor]:
        return self.read()


def _one_channel(blocks: Iterable[Tensor], channel: int) -> Rereadable:
    """One channel of blocks: (channels, samples) to (1, samples)."""
    return Rereadable(lambda: (block[channel : channel + 1] for block in blocks))


def separate_waveform(
    separator: Separator, waveform: Tensor, config: StreamConfig | None = None
) -> Tensor:
    """Separate a signal in memory: (channels, samples) to (targets, channels, samples).

    As :func:`separate_channels`, with longer chunks: latency does not matter here, and the signal
    takes as much memory as they do.
    """
    if waveform.ndim != 2 or not waveform.numel():
        raise ValueError(
            f"the waveform has shape {tuple(waveform.shape)}, expected (channels, samples) with at "
            "least one sample"
        )
    channels, samples = waveform.shape
    # Filled part by part: joining the parts at the end would need twice the memory.
    shape = (len(separator.sources), channels, samples)
    estimates = torch.empty(shape, dtype=torch.float32, device=next(separator.parameters()).device)
    done = 0
    config = config or StreamConfig()
    # As few chunks of equal length as five times the configured length allows.
    frames = samples // separator.n_hop + 1
    chunk = -(-frames // -(-frames // (5 * config.chunk)))
    config = replace(config, chunk=chunk, first_chunk=chunk)
    for part in separate_channels(separator, [waveform], channels, config):
        estimates[..., done : done + part.shape[-1]] = part
        done += part.shape[-1]
    return estimates
