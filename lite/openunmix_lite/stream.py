"""Separation of a signal that arrives in blocks, in memory that does not grow with its length.

::

    blocks -> STFT -> network -> Wiener filter -> inverse STFT -> blocks
              windows  chunks    windows          samples

The network computes the masks of the next windows while several threads filter the last ones.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from typing import TypeAlias

import numpy as np

from openunmix_lite.audio import BLOCK, resampled
from openunmix_lite.fourier import Complex, Real, normalised, overlap_add, stft_of_blocks
from openunmix_lite.model import Model, States
from openunmix_lite.wiener import FilterOptions, separate_frames

#: Frames that the network computes at once, 14 s at 44.1 kHz; fewer at first, for a low latency.
CHUNK, FIRST_CHUNK = 600, 300
#: Frames after them that it sees if it looks into the future.
LOOKAHEAD = 1024

#: Masks (targets, frames, channels, bins) and spectra (frames, channels, bins) of a window.
Window: TypeAlias = tuple[Real, Complex]


def separate_blocks(
    model: Model, blocks: Iterable[Real], options: FilterOptions | None = None
) -> Iterator[Real]:
    """Separate blocks (channels, samples) at the model's sample rate.

    Yields parts of the estimates (targets, channels, samples), the residual last if there is one;
    together they are as long as the mixture. A mono network separates each channel by itself.
    """
    options = options or FilterOptions()
    length = emitted = 0

    def counted() -> Iterator[Real]:
        nonlocal length
        for block in blocks:
            length += block.shape[1]
            yield block

    spectra = stft_of_blocks(counted(), model.n_fft, model.n_hop, options.window)
    windows = masked(model, spectra, options.window)
    signals = in_threads(model.threads, partial(filtered, model, options), windows)
    for part in normalised(signals, model.n_fft, model.n_hop):
        estimates = part[..., : length - emitted]  # a signal shorter than a frame was extended
        emitted += estimates.shape[-1]
        yield estimates


def masked(model: Model, windows: Iterable[Complex], frames: int) -> Iterator[Window]:
    """Yield windows of so many frames with their masks; the network gets several at once."""
    waiting: deque[Complex] = deque()
    states: States | None = None
    chunk, later = (max(1, round(length / frames)) for length in (FIRST_CHUNK, CHUNK))
    lookahead = 0 if model.is_causal else LOOKAHEAD

    def run() -> Iterable[Window]:
        nonlocal states, chunk
        ends = list(accumulate(map(len, waiting)))
        magnitude = np.empty((ends[-1], *waiting[0].shape[1:]), np.float32)
        for end, window in zip(ends, waiting, strict=True):
            np.abs(window, out=magnitude[end - len(window) : end])
        taken = [waiting.popleft() for _ in range(min(chunk, len(waiting)))]
        count, chunk = sum(map(len, taken)), later
        masks, states = model.masks(magnitude[: count + lookahead], count, states)
        return zip(np.split(masks, range(frames, count, frames), axis=1), taken, strict=True)

    for window in windows:
        waiting.append(window)
        if len(waiting) >= chunk + -(-lookahead // frames):
            yield from run()
    while waiting:
        yield from run()


def filtered(model: Model, options: FilterOptions, window: Window) -> Real:
    """Separate a window into (sources, channels, samples), still to be joined to its neighbours."""
    masks, mixture = (array.swapaxes(-3, -2) for array in window)
    signals = []
    for first in range(0, len(mixture), model.channels):
        channels = slice(first, first + model.channels)
        sources = separate_frames(masks[:, channels], mixture[channels], options)
        signals.append(overlap_add(sources, mixture.shape[1], model.n_fft, model.n_hop))
    return signals[0] if len(signals) == 1 else np.concatenate(signals, axis=1)


def in_threads(
    count: int, function: Callable[[Window], Real], windows: Iterable[Window]
) -> Iterator[Real]:
    """Apply a function in several threads; yield its results in order, the first at once."""
    waiting: deque[Future[Real]] = deque()
    allowed = 0
    with ThreadPoolExecutor(count) as pool:
        for window in windows:
            waiting.append(pool.submit(function, window))
            if len(waiting) > allowed:
                yield waiting.popleft().result()
                allowed = count
        yield from (future.result() for future in waiting)


def separate_stream(
    model: Model,
    blocks: Iterable[Real],
    channels: int,
    sample_rate: int,
    options: FilterOptions | None = None,
) -> Iterator[tuple[Real, Real]]:
    """Separate blocks of one or two channels; yield aligned parts of mixture and estimates.

    A stereo network sees a mono signal on both channels, and the mean of its estimates is the
    result.
    """
    model_rate, sources = round(model.sample_rate), len(model.targets)
    is_spread = channels < model.channels
    mixture: deque[Real] = deque()  # whose estimates are still to come

    def read() -> Iterator[Real]:
        for block in blocks:
            mixture.append(block)
            yield np.repeat(block, model.channels, axis=0) if is_spread else block

    def separated() -> Iterator[Real]:
        for part in separate_blocks(model, resampled(read(), sample_rate, model_rate), options):
            estimates = part[:sources].mean(axis=1) if is_spread else part[:sources]
            yield estimates.reshape(sources * channels, -1)

    for estimates in resampled(separated(), model_rate, sample_rate):
        samples = min(estimates.shape[1], sum(block.shape[1] for block in mixture))
        if samples:
            part = estimates[:, :samples].reshape(sources, channels, samples)
            yield take(mixture, samples), part
    for block in mixture:  # a last sample that is lost when the rate is converted there and back
        yield block, np.zeros((sources, *block.shape), np.float32)


def take(blocks: deque[Real], samples: int) -> Real:
    """Remove and return the first samples of blocks."""
    taken = []
    while samples:
        block = blocks.popleft()
        taken.append(block[:, :samples])
        if block.shape[1] > samples:
            blocks.appendleft(block[:, samples:])
        samples -= taken[-1].shape[1]
    return np.concatenate(taken, axis=1)


def separate(
    waveform: Real,
    sample_rate: int,
    model: Model | None = None,
    options: FilterOptions | None = None,
) -> dict[str, Real]:
    """Separate a waveform of one or two channels, (channels, samples), into the same by target."""
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim != 2 or len(waveform) > 2 or not waveform.size:
        raise ValueError(f"the waveform has shape {waveform.shape}, expected (1 or 2, samples)")
    model = model or Model()
    blocks = (waveform[:, start : start + BLOCK] for start in range(0, waveform.shape[1], BLOCK))
    parts = separate_stream(model, blocks, len(waveform), sample_rate, options)
    estimates = np.concatenate([part for _, part in parts], axis=-1)
    return dict(zip(model.targets, estimates, strict=True))
