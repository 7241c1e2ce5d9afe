"""Delay and computing time of live separation, block by block, with a causal model.

Prints a table of ``docs/performance.md``: how late estimates are, and how long the blocks take that
come at once, in one thread, in parts of the time in which they arrive.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from collections.abc import Iterator

import torch
from separation import Table, add_save_option, machine, noise, report

from openunmix.predict.stream import StreamConfig, separate_blocks
from openunmix.pretrained import load_separator


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="umxlive", help="name of a causal model, or its folder")
    parser.add_argument("--seconds", type=int, default=30, help="of audio")
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 4, 16], help="at once")
    add_save_option(parser)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    columns = [
        "frames at once",
        "they arrive in, ms",
        "delay, ms",
        "computed in, ms",
        "99 % within",
    ]
    table = Table([*columns, "load"], ["{}", *["{:.1f}"] * 4, "{:.0%}"])
    for frames in args.frames:
        table.rows.append([frames, *measure(args.model, frames, noise(args.seconds))])
    caption = f"{args.model}, {machine()}, one used, {datetime.date.today()}"
    report("live", "benchmarks/live.py", caption, {"table": table}, args.save)


def measure(model: str, frames: int, audio: torch.Tensor) -> list[float]:
    """Return how often frames arrive, how late estimates are, times of computing, and the load."""
    separator = load_separator(model, niter=0, wiener_win_len=frames)
    separator.freeze()
    rate, taken, late = float(separator.sample_rate), [], 0
    fed = done = 0
    began = time.perf_counter()

    def blocks() -> Iterator[torch.Tensor]:
        nonlocal fed, began
        for block in audio.split(frames * separator.n_hop, dim=-1):
            fed += block.shape[-1]
            began = time.perf_counter()
            yield block

    for estimates in separate_blocks(separator, blocks(), StreamConfig(frames, first_chunk=frames)):
        taken.append(time.perf_counter() - began)
        if fed < audio.shape[-1]:
            late = max(late, fed - done)  # of the first sample that arrives now
        done += estimates.shape[-1]
    arrival = frames * separator.n_hop / rate
    computed = statistics.median(taken)
    slow = statistics.quantiles(taken, n=100)[-1]
    return [1e3 * arrival, 1e3 * late / rate, 1e3 * computed, 1e3 * slow, computed / arrival]


if __name__ == "__main__":
    main()
