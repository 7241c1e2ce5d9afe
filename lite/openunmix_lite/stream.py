"""Separation of a signal that arrives in blocks, in memory that does not grow with its length.

::

    blocks -> Analysis -> network -> Wiener filter -> inverse -> Synthesis -> blocks
               frames      chunks       windows       windows     samples

The network runs in a thread of its own, one chunk ahead of the filter, whose windows are computed
by several threads. Networks that look into the future see ``LOOKAHEAD`` frames after a chunk.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numpy as np

from openunmix_lite.audio import Resampler
from openunmix_lite.fourier import Analysis, Synthesis, inverse_frames, overlap_add
from openunmix_lite.model import Model, States
from openunmix_lite.types import Complex, Real
from openunmix_lite.wiener import FilterOptions, estimate, fit
from openunmix_lite.wiener import blocks as blocks_of

#: Frames after a chunk that the network sees, 24 s at 44.1 kHz.
LOOKAHEAD = 1024
#: Frames of a chunk, and of the first one, for a low latency.
CHUNK, FIRST_CHUNK = 600, 300

# Windows of the filter that are computed at the same time.
_WINDOWS = 4
# Frames that are estimated at once: few enough to stay in the cache.
_FRAMES = 10

Item = TypeVar("Item")
Result = TypeVar("Result")


class Queue:
    """Arrays in a row along an axis; one thread may push while another takes."""

    def __init__(self, empty: Any, axis: int) -> None:
        self._parts: deque[Any] = deque()
        self._empty, self._axis = empty, axis
        self._pushed = self._taken = 0

    def __len__(self) -> int:
        return self._pushed - self._taken

    def push(self, array: Any) -> None:
        """Append an array."""
        self._parts.append(array)
        self._pushed += array.shape[self._axis]

    def take(self, length: int) -> Any:
        """Remove and return the next entries, as many as there are."""
        taken = [self._empty]
        while length > 0 and self._parts:
            part, rest = np.split(self._parts.popleft(), [length], axis=self._axis)
            if rest.size:
                self._parts.appendleft(rest)
            taken.append(part)
            length -= part.shape[self._axis]
            self._taken += part.shape[self._axis]
        return np.concatenate(taken, axis=self._axis)

    def magnitude(self, frames: int) -> Real:
        """Return the magnitude of the next frames, which stay in the queue."""
        result = np.empty((min(frames, len(self)), *self._empty.shape[1:]), np.float32)
        start = 0
        for part in self._parts:
            rows = result[start : start + len(part)]
            np.abs(part[: len(rows)], out=rows)
            start += len(rows)
        return result


def separate_blocks(
    model: Model, blocks: Iterable[Real], options: FilterOptions | None = None
) -> Iterator[Real]:
    """Separate blocks (channels, samples) at the model's sample rate.

    Yields parts of the estimates (targets, channels, samples), the residual last; together they
    are as long as the mixture.
    """
    options = options or FilterOptions()
    analysis = Analysis(model.channels, model.n_fft, model.n_hop)
    synthesis = Synthesis(model.n_fft, model.n_hop)
    emitted = 0
    with ThreadPoolExecutor(min(model.threads, _WINDOWS)) as pool:
        windows = prefetch(_masked_windows(model, analysis, blocks, options.window), 1)
        separate_window = partial(_numerator, model, options)
        for numerator in in_order(pool, separate_window, windows, min(model.threads, _WINDOWS)):
            # A signal shorter than a window was extended.
            part = synthesis.push(numerator)[..., : analysis.samples - emitted]
            emitted += part.shape[-1]
            yield part
    if analysis.samples:
        yield synthesis.finish()[..., : analysis.samples - emitted]


def _masked_windows(
    model: Model, analysis: Analysis, blocks: Iterable[Real], window: int
) -> Iterator[tuple[Real, Complex]]:
    """Yield masks (targets, frames, channels, bins) and spectra of the windows of the filter."""
    no_frames = np.zeros((0, model.channels, model.n_fft // 2 + 1), np.complex64)
    frames, states = Queue(no_frames, axis=0), None
    lookahead = 0 if model.is_causal else LOOKAHEAD
    later = window * max(1, round(CHUNK / window))
    chunk = window * max(1, round(FIRST_CHUNK / window))

    def run(count: int, states: States | None) -> tuple[Iterator[tuple[Real, Complex]], States]:
        masks, after = model.masks(frames.magnitude(count + lookahead), count, states)
        starts = range(0, count, window)
        parts = ((masks[:, start : start + window], min(window, count - start)) for start in starts)
        return ((part, frames.take(length)) for part, length in parts), after

    for spectra in _spectra(analysis, blocks):
        frames.push(spectra)
        while len(frames) >= chunk + lookahead:
            windows, states = run(chunk, states)
            yield from windows
            chunk = later
    while len(frames):
        windows, states = run(min(chunk, len(frames)), states)
        yield from windows
        chunk = later


def _spectra(analysis: Analysis, blocks: Iterable[Real]) -> Iterator[Complex]:
    """Yield spectra of blocks, and of the end of a signal."""
    for block in blocks:
        yield analysis.push(block)
    if analysis.samples:
        yield analysis.finish()


def _numerator(model: Model, options: FilterOptions, window: tuple[Real, Complex]) -> Real:
    """Estimates (sources, channels, samples) of a window, to be overlapped and normalised."""
    masks, mixture = window
    scale, factors = fit(masks, mixture, options)
    samples = (len(mixture) - 1) * model.n_hop + model.n_fft
    total = np.zeros((len(masks) + options.residual, model.channels, samples), np.float32)
    for rows in blocks_of(len(mixture), _FRAMES):
        sources = estimate(masks[:, rows], mixture[rows], scale, factors, options)
        part = overlap_add(inverse_frames(sources, model.n_fft), model.n_hop)
        total[..., rows.start * model.n_hop :][..., : part.shape[-1]] += part
    return total


def separate_channels(
    model: Model, blocks: Iterable[Real], channels: int, options: FilterOptions | None = None
) -> Iterator[Real]:
    """Separate blocks whose channels may differ from those of the network.

    A stereo network sees a mono signal on both channels, and the mean of its estimates is the
    result. A mono network separates the channels one by one.
    """
    if channels == model.channels:
        yield from separate_blocks(model, blocks, options)
    elif channels == 1:
        copies = (np.repeat(block, model.channels, axis=0) for block in blocks)
        for estimates in separate_blocks(model, copies, options):
            yield estimates.mean(axis=1, keepdims=True)
    elif model.channels == 1:
        lock = threading.Lock()  # each channel is read by a thread of its own
        runs = [
            separate_blocks(model, _one_channel(copy, channel, lock), options)
            for channel, copy in enumerate(itertools.tee(blocks, channels))
        ]
        for parts in zip(*runs, strict=True):
            yield np.concatenate(parts, axis=1)
    else:
        raise ValueError(f"the signal has {channels} channels, and the network {model.channels}")


def _one_channel(
    blocks: Iterator[Real], channel: int, lock: AbstractContextManager[bool]
) -> Iterator[Real]:
    """Yield one channel of blocks: (channels, samples) to (1, samples)."""
    while True:
        with lock:
            block = next(blocks, None)
        if block is None:
            return
        yield block[[channel]]


def separate_stream(
    model: Model,
    blocks: Iterable[Real],
    channels: int,
    sample_rate: int,
    options: FilterOptions | None = None,
    at_model_rate: bool = False,
) -> Iterator[tuple[Real, Real]]:
    """Separate blocks at any sample rate; yield aligned parts of mixture and estimates."""
    model_rate = round(model.sample_rate)
    rate = model_rate if at_model_rate else sample_rate
    delayed = Queue(np.zeros((channels, 0), np.float32), axis=1)

    def resampled() -> Iterator[Real]:
        resampler = Resampler(sample_rate, model_rate, channels)
        for block in itertools.chain(blocks, [None]):
            block_out = resampler.process(block)
            if at_model_rate or block is not None:
                delayed.push(block_out if at_model_rate else block)
            yield block_out

    sources = len(model.targets)
    resampler = Resampler(model_rate, rate, sources * channels)

    def aligned(estimates: Real) -> tuple[Real, Real]:
        samples = estimates.shape[-1]
        return delayed.take(samples), estimates.reshape(sources, channels, samples)

    for estimates in separate_channels(model, resampled(), channels, options):
        yield aligned(resampler.process(estimates[:sources].reshape(sources * channels, -1)))
    rest = resampler.process(None)
    # Converting the rate there and back may gain or lose the last sample.
    missing = max(len(delayed) - rest.shape[1], 0)
    yield aligned(np.pad(rest, ((0, 0), (0, missing)))[:, : len(delayed)])


def separate(
    waveform: Real,
    sample_rate: int,
    model: Model | None = None,
    options: FilterOptions | None = None,
) -> dict[str, Real]:
    """Separate a waveform in memory, (channels, samples) to the same for each target.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)], real
        One or two channels, full scale at 1.
    sample_rate : int > 0
        In Hz; the estimates have it, too.
    model : Model, optional
        The bundled one by default.
    options : FilterOptions, optional
        Of the Wiener filter.

    Returns
    -------
    dict
        Estimates by target.

    Raises
    ------
    ValueError
        If the waveform has another shape.
    """
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim != 2 or not waveform.size:
        raise ValueError(f"the waveform has shape {waveform.shape}, expected (channels, samples)")
    model = model or Model()
    blocks = [waveform[:, start : start + 65536] for start in range(0, waveform.shape[1], 65536)]
    parts = separate_stream(model, blocks, len(waveform), sample_rate, options)
    estimates = np.concatenate([part for _, part in parts], axis=-1)
    return dict(zip(model.targets, estimates, strict=True))


def prefetch(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Iterate in another thread, up to ``count`` items ahead."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            pool.shutdown(cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Apply a function in several threads; yield its results in order, the first at once."""
    waiting: deque[Future[Result]] = deque()
    allowed = 0
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > allowed:
            yield waiting.popleft().result()
            allowed = ahead
    while waiting:
        yield waiting.popleft().result()
