"""``torchrun`` and ``accelerate launch`` start the command as the documentation says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openunmix.pretrained.folder import load_folder
from openunmix.training.parallel import launched

BIN = Path(sys.executable).parent
TRAIN = [
    *("umx-train", "--hidden-size", "16", "--nfft", "512", "--nhop", "256", "--seq-dur", "0.5")
]
TRAIN += ["--batch-size", "4", "--steps", "30", "--save-every", "10", "--lr", "0.01"]
TRAIN += ["--targets", "drums", "bass", "--nb-valid-samples", "2", "--device", "cpu"]
LAUNCHERS = {
    "torchrun": "torchrun --standalone --nproc-per-node 2 --no-python",
    # It starts a single process without --multi_gpu where there is no GPU.
    "accelerate": "accelerate launch --multi_gpu --num_processes 2 --rdzv_backend c10d "
    "--main_process_port 0 --no_python",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train with each launcher; return what each has said, and the folder of the runs."""
    pytest.importorskip("accelerate", reason="needs openunmix[train]")
    if not (BIN / "umx-train").exists():
        pytest.skip("the commands are not installed beside Python")
    folder = tmp_path_factory.mktemp("launchers")
    paths = os.pathsep.join([str(BIN), os.environ["PATH"]])
    told = {}
    for name, launcher in LAUNCHERS.items():
        done = subprocess.run(
            [*launcher.split(), *TRAIN, "--output", name],
            cwd=folder,
            env={**os.environ, "PATH": paths, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told[name] = done.stderr
    return told, folder


@pytest.mark.parametrize("name", LAUNCHERS)
def test_two_processes_make_one_run(runs, name):
    told, folder = runs
    assert told[name].count("training on synthetic tracks") == 1
    assert told[name].count("finished all 30 steps") == 1
    history = json.loads((folder / name / "history.json").read_text())
    assert [record["step"] for record in history] == [10, 20, 30]
    for target in ("drums", "bass"):
        assert history[-1]["loss"][target] < 0.8 * history[0]["loss"][target]


def test_launchers_agree_to_the_last_bit(runs):
    # Two separate processes would each train on whole batches, to other weights.
    _, folder = runs
    ours, theirs = (load_folder(folder / name).networks for name in LAUNCHERS)
    for target, network in ours.items():
        for key, value in network.state_dict().items():
            assert value.equal(theirs[target].state_dict()[key]), (target, key)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"PMI_RANK": "1", "PMI_SIZE": "3"}, (1, 3)),
    ],
)
def test_rank_is_what_the_launcher_told(monkeypatch, told, expected):
    for name in list(os.environ):
        if name.endswith(("RANK", "SIZE")):
            monkeypatch.delenv(name)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected
