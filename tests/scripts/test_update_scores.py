"""What `make scores` writes, of a tiny model and songs made here."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import torch
from helpers.models import save_model
from helpers.sounds import noise

ROOT = Path(__file__).parents[2]
PAGE = "before\n\n<!-- table: scores-tiny -->\nold\n<!-- /table -->\n\nafter\n"
TARGETS = ("vocals", "drums", "bass")


@pytest.fixture
def update(tiny_separator, tmp_path, monkeypatch):
    """Return a function that runs the script with a tiny model, on a page and data of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import tables

    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("")
    (tmp_path / "docs" / "models.md").write_text(PAGE)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "DATA", tmp_path / "docs" / "data")
    main = runpy.run_path(str(ROOT / "scripts" / "update_scores.py"))["main"]
    model = str(save_model(tmp_path / "tiny", tiny_separator(TARGETS, nb_channels=1)))
    return lambda songs, times=1: main([str(songs), "--models", *[model] * times])


def songs(track_folder, count=2, silent=None):
    """Write songs of a second; one target of the last may be silent."""
    for number in range(count):
        stems = {
            f"{target}.wav": 0.1 * noise(8000, 1, 10 * number + seed)
            for seed, target in enumerate(TARGETS)
        }
        if silent and number == count - 1:
            stems[f"{silent}.wav"] = torch.zeros(1, 8000)
        folder = track_folder(f"song {number}", stems)
    return folder.parent


def test_tables_take_the_place_of_the_old_ones(update, track_folder, tmp_path):
    assert update(songs(track_folder, silent="vocals")) == 0
    page = (tmp_path / "docs" / "models.md").read_text()
    assert page.startswith("before\n\n<!-- table: scores-tiny -->\ntiny, niter 1, 2")
    assert page.endswith("<!-- /table -->\n\nafter\n")
    assert "old" not in page
    assert "(commit " in page
    assert str(tmp_path) not in page
    lines = page.splitlines()
    for name in ("median", "**median**"):
        (row,) = [line for line in lines if line.startswith(f"| {name} |")]
        assert len(re.findall(r"-?\d+\.\d\d", row)) == len(TARGETS)
    (row,) = [line for line in lines if line.startswith("| song 1 |")]
    assert row.endswith("|  |")  # no vocals there
    data = json.loads((tmp_path / "docs" / "data" / "scores-tiny.json").read_text())
    assert data["script"] == "make scores"
    assert data["tables"]["tracks"]["rows"][1][-1] is None


def test_mixture_is_scored_once_for_all_models(update, track_folder, capsys):
    assert update(songs(track_folder), times=2) == 0
    said = capsys.readouterr().err.splitlines()
    assert [said.count(f"{name}, song 0") for name in ("tiny", "mixture")] == [2, 1]


def test_without_the_folder_it_says_so_and_changes_nothing(update, tmp_path, capsys):
    assert update(tmp_path / "nowhere") == 0
    said = capsys.readouterr().out
    assert "nowhere: no such folder of songs" in said
    assert "make scores DATA=FOLDER" in said
    assert (tmp_path / "docs" / "models.md").read_text() == PAGE


def test_song_that_cannot_be_scored_ends_it_before_the_page_changes(update, track_folder, tmp_path):
    folder = songs(track_folder)
    (folder / "song 1" / "bass.wav").unlink()
    with pytest.raises(SystemExit, match="song 1: the stem of bass is missing"):
        update(folder)
    assert (tmp_path / "docs" / "models.md").read_text() == PAGE
