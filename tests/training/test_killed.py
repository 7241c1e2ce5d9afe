"""What happens to a real process: it is killed, or finds no room on the disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from openunmix.audio import AudioWriter
from openunmix.data import synthetic_song
from openunmix.training.checkpoint import load_state, state_file
from openunmix.training.history import TIMINGS

resource = pytest.importorskip("resource", reason="limits are those of POSIX")

RATE = 8000
# All that has a state of its own: workers, augmentations, averages, a schedule that looks at the
# validation loss, losses of several targets.
OPTIONS = """--dataset trackfolder_fix --root data --target-file vocals.wav --random-track-mix
--interferer-files drums.wav bass.wav --source-augmentations gain channelswap --targets vocals drums
--bridged --loss multi-domain --augment --ema-decay 0.9 --schedule plateau --lr-decay-patience 0
--clip 1 --warmup 5 --hidden-size 8 --nfft 256 --nhop 128 --sample-rate 8000 --bandwidth 4000
--seq-dur 0.5 --batch-size 2 --epochs 10 --save-every 3 --nb-workers 2 --device cpu --quiet"""
RUN = """
import signal, sys
import torch
from openunmix.cli._train import main
torch.set_num_threads(1)
limit = int(sys.argv.pop(1))
if limit:  # of a file, as if the disk were full
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write tracks, and a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("killed")
    for seed, name in enumerate([*(f"train/{i}" for i in range(7)), "valid/a", "valid/b"]):
        track = folder / "data" / name
        track.mkdir(parents=True)
        for stem, waveform in synthetic_song(np.random.default_rng(seed), RATE, RATE).items():
            with AudioWriter(track / f"{stem}.wav", RATE, 2) as writer:
                writer.write(waveform.numpy())
    assert start(folder, "straight").wait(240) == 0, told(folder, "straight")
    return folder


def start(folder, output, limit=0):
    """Start training in a process of its own."""
    command = [sys.executable, "-c", RUN, str(limit), *OPTIONS.split(), "--output", output]
    with (folder / f"{output}.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stderr=log)


def told(folder, output):
    """Return what a process has said on stderr."""
    return (folder / f"{output}.log").read_text()


def state_of(folder):
    """Return the state of a run as text and tensors, without what time has to do with."""
    state = load_state(state_file(folder))
    for record in state["history"]["records"]:
        for name in TIMINGS:
            record.pop(name)
    return state


def assert_same(ours, theirs):
    """Compare two runs, to the last bit."""
    assert ours["history"] == theirs["history"]
    assert ours["step"] == theirs["step"] == 30
    assert ours["schedule"] == theirs["schedule"]
    for part in ("networks", "ema"):
        for name, value in ours[part].items():
            assert value.equal(theirs[part][name]), name
    for index, moments in ours["optimizer"]["state"].items():
        for name, value in moments.items():
            assert value.equal(theirs["optimizer"]["state"][index][name]), (index, name)


def test_run_that_is_killed_ends_like_one_that_was_not(folder):
    # Nobody knows at which step the signal arrives: in the middle of an epoch, or of a file.
    output = folder / "killed"
    process = start(folder, "killed")
    while process.poll() is None and not (
        state_file(output).is_file() and load_state(state_file(output))["step"] >= 4
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL, told(folder, "killed")
    assert load_state(state_file(output))["step"] < 30
    assert start(folder, "killed").wait(240) == 0, told(folder, "killed")
    assert_same(state_of(output), state_of(folder / "straight"))
    for path in (folder / "straight").glob("*.safetensors"):
        assert path.read_bytes() == (output / path.name).read_bytes()


def test_full_disk_leaves_the_checkpoint_and_says_what_to_do(folder):
    output = folder / "full"
    assert start(folder, "full", limit=20_000).wait(240) == 1  # not even the first one
    [line] = told(folder, "full").splitlines()
    assert line.startswith("umx-train: full: the checkpoint of step 0 cannot be written (")
    assert "free some space, and run the same command again" in line
    assert not list(output.rglob("*.*"))


def test_disk_that_fills_up_leaves_the_last_checkpoint(folder):
    output = folder / "filling"
    size = state_file(folder / "straight").stat().st_size
    # The records make it larger and larger.
    assert start(folder, "filling", limit=size - 1000).wait(240) == 1
    assert "cannot be written" in told(folder, "filling")
    step = load_state(state_file(output))["step"]
    assert 0 < step < 30
    assert json.loads((output / "history.json").read_text())[-1]["step"] == step
    assert not list(output.rglob(".*"))  # nothing half-written
