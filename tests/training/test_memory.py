"""Freed memory that is kept: fewer page faults when the same blocks are wanted again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from openunmix.training import parallel as memory

# Page faults of ten blocks of 32 MB that are written and freed, one after the other.
FAULTS = """
import resource, sys
from openunmix.training.parallel import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
bytearray(2**25)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytes(2**25 * b"x")
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
def test_blocks_are_used_again():
    faults = {}
    for way in ("keep", "free"):
        command = [sys.executable, "-c", FAULTS, way]
        faults[way] = int(subprocess.run(command, capture_output=True, check=True).stdout)
    assert faults["keep"] < faults["free"] / 4


def test_other_devices_and_allocators_are_left_alone(monkeypatch):
    assert not memory.keep_freed_memory("cuda")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not memory.keep_freed_memory()
