"""The report of a training run as a page."""

from __future__ import annotations

import json

import pytest
from helpers.pages import PageParser

from openunmix.training.report import write_report

pytest.importorskip("matplotlib")


def run(folder, **details):
    """Write the records of a run of two steps, and the description of its network."""
    folder.mkdir()
    records = [
        {
            "step": step,
            "epoch": 0,
            "loss": {"vocals": 1 / step},
            "learning_rate": 1e-3,
            "steps_per_second": 2.0,
            "data_loading": 0.25,
            "seconds": 1.0,
        }
        for step in (1, 2)
    ]
    (folder / "history.json").write_text(json.dumps(records))
    (folder / "vocals.json").write_text(json.dumps(details))
    return folder


def test_report_is_one_well_formed_page(tmp_path):
    page = write_report(run(tmp_path / "mine")).read_text("utf-8")
    parser = PageParser(page)
    assert parser.open == []
    assert [link[:22] for link in parser.links] == ["data:image/png;base64,"]
    assert "loss 0.5" in page
    assert "25%" in page


def test_names_and_settings_are_escaped(tmp_path):
    evil = "<script>1"
    page = write_report(run(tmp_path / evil, config={evil: evil}, args={"root": evil})).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;1") == 5


def test_nested_settings_are_listed(tmp_path):
    config = {"stft": {"n_fft": 4096, "n_hop": 1024}, "targets": ["vocals", "bass"], "seed": None}
    page = write_report(run(tmp_path / "mine", config=config)).read_text("utf-8")
    assert "n_fft: 4096; n_hop: 1024" in page
    assert "vocals, bass" in page
    assert "seed" not in page


def test_run_without_records_is_an_error(tmp_path):
    (tmp_path / "history.json").write_text("[]")
    with pytest.raises(ValueError, match="no records yet"):
        write_report(tmp_path)
