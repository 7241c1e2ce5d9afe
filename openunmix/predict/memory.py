"""Memory that a separation takes, estimated before it begins."""

from __future__ import annotations

import torch

from openunmix.model import Separator
from openunmix.predict.stream import WINDOWS_AT_ONCE, StreamConfig, whole_windows

# Bytes of a process before it separates anything: Python, torch and its thread pools.
_PROCESS = 300_000_000


def estimate_memory(separator: Separator, config: StreamConfig | None = None) -> int:
    """Estimate the peak memory, in bytes, of a process that separates files, within a fifth.

    With ``exact`` the length of the file adds to it. Measurements: ``docs/performance.md``.
    """
    config = config or StreamConfig()
    channels, bins = separator.nb_channels, separator.n_fft // 2 + 1
    sources = len(separator.sources)
    window = separator.wiener_win_len or config.chunk
    weights = sum(parameter.nbytes for parameter in separator.parameters())
    trunks = {getattr(net, "trunk", ()) or net: net for net in separator.target_models.values()}
    hidden = [getattr(net, "hidden_size", bins) for net in trunks.values()]
    # A frame of a chunk: waveform, features and hidden states of all trunks; in the trunks that
    # run at the same time seven buffers as wide as their LSTM.
    threads = torch.get_num_threads()
    widths = 2 * sum(hidden) + 7 * min(threads, len(hidden)) * max(hidden)
    per_frame = 4 * (channels * separator.n_hop + widths)
    # A frame of a window, per value: magnitude (4 bytes), estimate (8), three complex temporaries.
    per_window_frame = sources * channels * bins * (4 + 8 + 3 * 8) * min(threads, WINDOWS_AT_ONCE)
    frames = whole_windows(config.chunk, window) + config.lookahead
    # Folding copies about half of the weights.
    return _PROCESS + int(1.5 * weights) + frames * per_frame + window * per_window_frame
