import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.catalogues import make_catalogue, marks, stems

from openunmix._files import sha256_of
from openunmix.catalogue import separate_row
from openunmix.catalogue.settings import claim_output, load
from openunmix.errors import CheckpointError


@pytest.fixture
def catalogue(tmp_path, tiny_separator):
    return make_catalogue(tmp_path, tiny_separator(), 2)


def test_a_record_says_what_was_made_of_what(catalogue):
    (row, _), settings = catalogue
    record = separate_row(row, settings)
    assert (record["status"], record["uri"], record["duration"]) == ("done", row["uri"], 0.5)
    folder = Path(settings.output, row["id"][:2], row["id"])
    assert sorted(record["outputs"]) == ["drums.flac", "vocals.flac"]
    for name, output in record["outputs"].items():
        assert output == {
            "sha256": sha256_of(folder / name),
            "bytes": (folder / name).stat().st_size,
        }
    assert json.loads((folder / "done.json").read_text())["settings"] == settings.hash


def test_stems_and_residual_sum_to_the_mixture(catalogue):
    (row, _), settings = catalogue
    with_residual = replace(settings, residual="residual")
    # Five files of 24 bits: each rounds at -146 dB.
    assert separate_row(row, with_residual)["null_db"] < -100
    assert separate_row(row, settings)["null_db"] > -60


def test_what_is_done_is_skipped_and_other_settings_are_not(catalogue):
    (row, _), settings = catalogue
    separate_row(row, settings)
    before = marks(settings.output)
    assert separate_row(row, settings)["status"] == "skipped"
    assert marks(settings.output) == before
    assert separate_row(row, replace(settings, depth="16"))["status"] == "done"


def test_a_folder_of_outputs_belongs_to_its_settings(catalogue):
    _, settings = catalogue
    claim_output(settings)
    claim_output(settings)
    with pytest.raises(ValueError, match=r"other settings \(niter\)"):
        claim_output(replace(settings, niter=2))


def test_other_weights_than_those_of_the_run_are_refused(catalogue):
    _, settings = catalogue
    with pytest.raises(CheckpointError, match="not those of the run"):
        load(replace(settings, weights=(("vocals", "0" * 64), ("drums", "0" * 64))))


def test_two_runs_write_the_same_bytes(catalogue, tmp_path):
    rows, settings = catalogue
    other = replace(settings, output=str(tmp_path / "other"))
    for each in (settings, other):
        assert [separate_row(row, each)["status"] for row in rows] == ["done", "done"]
    assert stems(settings.output) == stems(other.output)


def test_a_broken_file_is_a_record(catalogue):
    (row, _), settings = catalogue
    Path(row["uri"]).write_bytes(b"no music" * 100)
    record = separate_row(row, settings)
    assert record["status"] == "failed"
    assert row["uri"] in record["error"]
    assert "\n" not in record["error"]
    folder = Path(settings.output, row["id"][:2], row["id"])
    assert sorted(os.listdir(folder)) == ["failed.json"]


def test_a_vanished_file_is_a_record(catalogue):
    (row, _), settings = catalogue
    Path(row["uri"]).unlink()
    assert row["uri"] in separate_row(row, settings)["error"]


def test_a_failure_is_forgotten_when_the_row_succeeds(catalogue):
    (row, _), settings = catalogue
    path = Path(row["uri"])
    content = path.read_bytes()
    path.unlink()
    assert separate_row(row, settings)["status"] == "failed"
    path.write_bytes(content)
    assert separate_row(row, settings)["status"] == "done"
    assert not list(Path(settings.output).rglob("failed.json"))


def test_a_full_disk_is_a_record_and_leaves_no_files(catalogue, monkeypatch):
    (row, _), settings = catalogue

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.put_file", full)
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", full)
    record = separate_row(row, settings)
    assert "No space left" in record["error"]
    assert not [path for path in Path(settings.output).rglob("*") if path.is_file()]


def test_a_damaged_mark_counts_for_nothing(catalogue):
    (row, _), settings = catalogue
    separate_row(row, settings)
    (mark,) = marks(settings.output)
    mark.write_text('{"settings": "')
    assert separate_row(row, settings)["status"] == "done"
