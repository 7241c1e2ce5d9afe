"""Several processes train as one would. They are started by hand, with gloo on the CPU."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.toys import CONFIG, Tones

from openunmix.errors import MissingExtraError
from openunmix.training import fit, parallel
from openunmix.training.batches import Batches, Examples
from openunmix.training.checkpoint import load_state, state_file
from openunmix.training.parallel import Processes
from openunmix.training.trainer import Trainer

# Statistics of a batch and dropout are each process's own, so they are switched off.
SAME = replace(
    CONFIG,
    architecture=replace(CONFIG.architecture, nb_layers=1),
    batch_size=4,
    loss="mse",
    clip=0.0,
    weight_decay=0.0,
)

RUN = """
import sys
sys.path[:0] = [{tests!r}, {above!r}]
import torch
torch.set_num_threads(1)
from test_parallel import every_run, one_step
one_step({folder!r})
every_run({folder!r})
"""
LEARN = replace(
    CONFIG, steps=40, learning_rate=0.01, save_every=10, validate_every=20, ema_decay=0.9
)


def one_step(folder):
    """Take a step of gradient descent, and save gradients and weights."""
    processes = Processes("cpu")
    trainer = Trainer(SAME, 10, processes=processes)
    for network in trainer.networks.values():
        network.train = lambda *_: None  # stays in evaluation mode
        network.eval()
        for part in network.children():
            part.eval()
    examples = Examples(Tones(8), SAME.targets, 2)
    [batch] = Batches(examples, 4, 1, processes.rank, processes.world_size).between(0, 1)
    gradients = {}
    step = trainer.optimizer.step

    def look(*arguments, **settings):
        for name, parameter in trainer.networks.named_parameters():
            gradients[name] = parameter.grad.clone()
        return step(*arguments, **settings)

    trainer.optimizer.step = look
    losses = trainer.update(batch)
    if processes.is_first:
        torch.save(
            [losses, gradients, trainer.networks.state_dict()],
            Path(folder, f"{processes.world_size}.pt"),
        )


def start(code, world_size=2):
    """Run code in several processes; raise if one of them fails."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    errors = [process.communicate(timeout=240)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world_size, errors


def every_run(folder):
    """Train straight on, and with an interruption."""
    valid = Tones(3, split="valid")
    fit(LEARN, Tones(40), Path(folder, "straight"), valid)
    stops = [False] * 12 + [True]
    fit(LEARN, Tones(40), Path(folder, "stopped"), valid, stop=lambda: stops.pop(0))
    assert load_state(state_file(Path(folder, "stopped")))["step"] == 13
    fit(LEARN, Tones(40), Path(folder, "stopped"), valid)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Let two processes train; return the folder of what they have written."""
    pytest.importorskip("accelerate", reason="needs openunmix[train]")
    folder = tmp_path_factory.mktemp("processes")
    here = Path(__file__).parent
    start(RUN.format(tests=str(here), above=str(here.parent), folder=str(folder)))
    return folder


def test_gradients_and_update_are_those_of_the_whole_batch(folder):
    with torch.random.fork_rng():
        one_step(folder)
    alone, together = (torch.load(folder / f"{world_size}.pt") for world_size in (1, 2))
    assert together[0] == pytest.approx(alone[0], rel=1e-5)
    for ours, theirs, tolerance in (
        (together[1], alone[1], 1e-6),  # sums in another order
        (together[2], alone[2], 1e-5),
    ):
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=tolerance, msg=name)
    assert any(gradient.abs().max() > 1e-4 for gradient in alone[1].values())


def test_two_processes_learn(folder):
    history = json.loads((folder / "straight/history.json").read_text())
    for target in LEARN.targets:
        assert history[-1]["loss"][target] < 0.5 * history[0]["loss"][target]
    assert history[-1]["valid_loss"].keys() == set(LEARN.targets)


def test_two_processes_go_on_exactly(folder):
    ours, theirs = (load_state(state_file(folder / name)) for name in ("stopped", "straight"))
    for name, value in ours["networks"].items():
        assert torch.equal(value, theirs["networks"][name])
    assert [r["valid_loss"] for r in ours["history"]["records"] if "valid_loss" in r] == [
        r["valid_loss"] for r in theirs["history"]["records"] if "valid_loss" in r
    ]


def test_one_process_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert fit(replace(CONFIG, steps=1), Tones(), tmp_path).step == 1
    processes = Processes()
    tensor = torch.ones(3)
    processes.average([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert processes.any(True)
    assert not processes.any(False)


def test_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MissingExtraError, match=r"accelerate; install openunmix\[train\]"):
        parallel.Processes()


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
    assert not parallel.keep_freed_memory("cuda")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not parallel.keep_freed_memory()
