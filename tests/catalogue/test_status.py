from pathlib import Path

import pandas
import pytest
from helpers.catalogues import make_catalogue

from openunmix.catalogue import separate_row
from openunmix.catalogue.settings import claim_output
from openunmix.catalogue.status import status_of, verify, write_results
from openunmix.errors import StorageError


@pytest.fixture
def finished(tmp_path, tiny_separator):
    """A run of three songs, of which the last has failed."""
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 3)
    claim_output(settings)
    Path(rows[2]["uri"]).unlink()
    for row in rows:
        separate_row(row, settings)
    return rows, settings.output


def test_status_counts_songs_hours_and_reasons(finished):
    rows, output = finished
    status = status_of([*rows, {**rows[0], "error": "no audio"}], output)
    assert (status.songs, status.done, status.left, status.unusable) == (4, 2, 1, 1)
    assert status.hours_done == pytest.approx(1 / 3600)
    assert list(status.failed) == [rows[2]["uri"]]
    assert rows[2]["uri"] in status.failed[rows[2]["uri"]]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(StorageError, match="holds no run"):
        status_of([], str(tmp_path))


def test_results_are_one_table(finished, tmp_path):
    rows, output = finished
    write_results(tmp_path / "results.parquet", rows, output)
    table = pandas.read_parquet(tmp_path / "results.parquet")
    assert list(table["status"]) == ["done", "done", "failed"]
    assert list(table["uri"]) == [row["uri"] for row in rows]
    assert (table["seconds"][:2] > 0).all()


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "quick", "word"),
    [
        (Path.unlink, True, "missing"),
        (lambda path: path.write_bytes(b"short"), True, "bytes instead of"),
        (damage, False, "SHA-256"),
    ],
)
def test_verify_finds_damage_and_a_run_repairs_it(tmp_path, tiny_separator, change, quick, word):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 2)
    claim_output(settings)
    for row in rows:
        separate_row(row, settings)
    assert list(verify(rows, settings.output)) == []
    change(Path(settings.output, rows[1]["id"][:2], rows[1]["id"], "drums.flac"))
    (line,) = verify(rows, settings.output, quick=quick, repair=True)
    assert word in line
    assert rows[1]["uri"] in line
    assert [separate_row(row, settings)["status"] for row in rows] == ["skipped", "done"]
    assert list(verify(rows, settings.output)) == []


def test_repair_removes_what_killed_processes_left(finished):
    rows, output = finished
    left = Path(output, "ab", ".part-1234-drums.flac")
    left.parent.mkdir(exist_ok=True)
    left.touch()
    assert len(list(verify(rows, output, repair=True))) == 1  # the failed song
    assert not left.exists()
