import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest
from helpers.catalogues import COMMAND, make_catalogue, marks, stems

from openunmix.catalogue import separate_row
from openunmix.catalogue.processes import free_memory, separate_in_processes
from openunmix.errors import OpenUnmixError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")


def test_killed_workers_lose_and_repeat_nothing(tmp_path, tiny_separator):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 12)
    calm = replace(settings, output=str(tmp_path / "calm"))
    for row in rows:
        assert separate_row(row, calm)["status"] == "done"
    records = []
    for record in separate_in_processes(rows, settings, 2):
        records.append(record)
        if len(records) in (2, 7):
            os.kill(random.Random(len(records)).choice(active_children()).pid, signal.SIGKILL)
    assert sorted(record["id"] for record in records) == sorted(row["id"] for row in rows)
    assert {record["status"] for record in records} <= {"done", "skipped"}
    assert stems(settings.output) == stems(calm.output)


def test_a_row_that_kills_every_process_is_given_up(tmp_path, tiny_separator):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 1)
    records = separate_in_processes(_killing(rows), settings, 1)
    (record,) = records
    assert record["status"] == "failed"
    assert "signal 9, 2 times" in record["error"]


class _Deadly(str):
    """A URI that kills the process that receives it."""

    def __reduce__(self):
        return _kill, ()


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


def _killing(rows):
    return [{**row, "uri": _Deadly(row["uri"])} for row in rows]


@pytest.fixture
def break_environment(tmp_path, monkeypatch):
    """Return a function after which processes that start do not find a module."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise ImportError('broken')")
    return lambda: monkeypatch.syspath_prepend(tmp_path / "broken")


def test_processes_that_cannot_start_are_one_error(tmp_path, tiny_separator, break_environment):
    """It was recorded as a failure of every song."""
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 4)
    break_environment()
    with pytest.raises(OpenUnmixError, match="a process cannot start: it ended by exit code 1"):
        next(separate_in_processes(rows, settings, 2))
    assert not list(Path(settings.output).rglob("failed.json"))


def test_a_process_that_cannot_start_again_ends_the_run_and_loses_nothing(
    tmp_path, tiny_separator, break_environment
):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 2)
    records = separate_in_processes(rows[:1] + _killing(rows[1:]), settings, 1)
    assert next(records)["status"] == "done"
    break_environment()
    with pytest.raises(OpenUnmixError, match="a process cannot start"):
        list(records)
    assert not list(Path(settings.output).rglob("failed.json"))
    assert len(marks(settings.output)) == 1


def test_memory_is_known_here():
    assert free_memory() > 1 << 20


@pytest.mark.parametrize(
    ("songs", "kills"), [(12, 2), pytest.param(300, 20, marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_again_and_again_goes_on(tmp_path, tiny_separator, songs, kills):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), songs)
    calm = replace(settings, output=str(tmp_path / "calm"))
    for row in rows:
        separate_row(row, calm)
    command = [*COMMAND, "run", str(tmp_path / "songs.parquet"), settings.output]
    command += ["--model", str(settings.model), "--niter", "0", "--processes", "2"]
    generator = random.Random(0)
    done = {}
    for kill in range(kills):
        process = subprocess.Popen(
            command, start_new_session=True, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        # Begin to count when the first song of this run is done; some runs end before.
        while process.poll() is None and len(marks(settings.output)) <= len(done):
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.1 if kill % 2 else 0.5))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found = marks(settings.output)
        assert done.items() <= found.items()  # what was done is not done again
        done = found
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert done.items() <= marks(settings.output).items()
    assert len(marks(settings.output)) == songs
    assert stems(settings.output) == stems(calm.output)
    assert Path(settings.output, "results.parquet").exists()
