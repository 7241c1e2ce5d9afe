"""Memory of separation does not grow with the length, and is what was estimated."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from openunmix.predict.memory import estimate_memory
from openunmix.predict.stream import StreamConfig


def test_more_memory_is_expected_for_more_work(tiny_separator):
    least = estimate_memory(tiny_separator(), StreamConfig(chunk=600))
    assert least < estimate_memory(tiny_separator(), StreamConfig(chunk=1200))
    assert least < estimate_memory(tiny_separator(residual=True), StreamConfig(chunk=600))
    wide = tiny_separator(network={"hidden_size": 64})
    assert least < estimate_memory(wide, StreamConfig(chunk=600))
    assert least < estimate_memory(tiny_separator(wiener_win_len=600), StreamConfig(chunk=600))


def numbers(script):
    """Run a script in a process of its own, and return the numbers that it prints."""
    command = [sys.executable, "-c", script]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


_MEMORY = """
import json, re
from pathlib import Path
import torch
from openunmix.predict.memory import estimate_memory
from openunmix.predict.stream import StreamConfig, separate_blocks
from openunmix.model import OpenUnmix, Separator

class Minutes:
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.count * 60):
            yield torch.randn(1, 8000, generator=generator)

def peak():
    # Not from getrusage: there a process begins with the peak of the one that started it.
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

torch.set_num_threads(1)
networks = {name: OpenUnmix(nb_bins=257, nb_channels=1, hidden_size=8) for name in "ab"}
settings = {"niter": 0, "n_fft": 512, "n_hop": 256, "nb_channels": 1}
config = StreamConfig(chunk=1000)
"""

_LENGTHS = """
peaks, expected = [], []
for count, window in ((2, 100), (20, 100), (10, None)):
    separator = Separator(networks, wiener_win_len=window, **settings)
    separator.freeze()
    for _ in separate_blocks(separator, Minutes(count), config):
        pass
    peaks.append(peak())
    expected.append(estimate_memory(separator, config) / 1024)
print(json.dumps([*peaks, expected[0]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_does_not_grow_with_the_length():
    two_minutes, twenty_minutes, ten_minutes_at_once, expected = numbers(_MEMORY + _LENGTHS)
    assert twenty_minutes < 1.1 * two_minutes
    assert 0.5 * expected < twenty_minutes < 1.2 * expected
    assert ten_minutes_at_once > 1.2 * two_minutes  # or else this test would not see growth


_SOAK = """
separator = Separator(networks, wiener_win_len=100, **settings)
separator.freeze()
resident = []
for number in range(1, 101):
    for _ in separate_blocks(separator, Minutes(1), config):
        pass
    if number in (10, 100):
        resident.append(peak())
print(json.dumps(resident))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_hundred_separations_leave_memory_flat():
    after_ten, after_hundred = numbers((_MEMORY + _SOAK).replace("VmHWM", "VmRSS"))
    assert after_hundred < 1.03 * after_ten
