"""The file ``separator.json``."""

from __future__ import annotations

import json

import pytest
from helpers.models import write_1_3_0_folder

from openunmix.errors import CheckpointError
from openunmix.model import Architecture
from openunmix.pretrained import load_separator, resolve_model
from openunmix.pretrained.folder import (
    SeparatorConfig,
    load_folder,
    read_config,
    save_config,
)
from openunmix.transforms.fourier import STFTConfig


def test_config_round_trip(tmp_path):
    architecture = Architecture(nb_layers=2, unidirectional=True, bandwidth=3000.0)
    config = SeparatorConfig(STFTConfig(64, 16, 8000.0), 1, architecture, extra={"by": "me"})
    save_config(tmp_path, config)
    assert read_config(tmp_path) == config
    content = json.loads((tmp_path / "separator.json").read_text())
    assert {key: content[key] for key in ("nfft", "nhop", "sample_rate", "nb_channels")} == {
        "nfft": 64,
        "nhop": 16,
        "sample_rate": 8000.0,
        "nb_channels": 1,
    }
    assert content["by"] == "me"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nfft", "64"),
        ("nfft", 64.5),
        ("nfft", -64),
        ("nfft", None),
        ("nhop", True),
        ("nhop", 0),
        ("sample_rate", float("nan")),
        ("sample_rate", float("inf")),
        ("sample_rate", 10**400),
        ("nfft", 2**40),
        ("nb_channels", [2]),
        ("unidirectional", "no"),
        ("bandwidth", "wide"),
        ("sha256", ["abc"]),
        ("sha256", {"vocals.pth": 5}),
    ],
)
def test_value_out_of_range_is_named(tmp_path, key, value):
    folder = write_1_3_0_folder(tmp_path / "model")
    content = json.loads((folder / "separator.json").read_text())
    (folder / "separator.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(CheckpointError, match=rf"separator\.json: '{key}' is"):
        load_folder(folder)


@pytest.mark.parametrize("key", ["nfft", "nhop", "sample_rate", "nb_channels"])
def test_missing_setting_is_named(tmp_path, key):
    folder = write_1_3_0_folder(tmp_path / "model")
    content = json.loads((folder / "separator.json").read_text())
    del content[key]
    (folder / "separator.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=f"lacks {key}"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nhop", 64, "hop of 64"),
        ("nhop", 100, "hop of 100"),
        ("nhop", 33, "hop of 33"),
        ("sample_rate", 22050.5, "sample rate is 22050.5"),
        ("sample_rate", 0.5, "sample rate is 0.5"),
        ("sample_rate", 1e9, "sample rate is 1000000000.0"),
    ],
)
def test_folder_that_cannot_work_is_refused_where_it_is_read(tmp_path, key, value, message):
    """A hop as long as the window: Python raised an error of istft, and umx wrote something."""
    folder = write_1_3_0_folder(tmp_path / "model")
    content = json.loads((folder / "separator.json").read_text())
    (folder / "separator.json").write_text(json.dumps({**content, key: value}))
    for load in (load_folder, load_separator, resolve_model, read_config):
        with pytest.raises(CheckpointError, match=rf"separator\.json: the .*{message}"):
            load(folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_separator_json_by_windows_programs_is_read(tmp_path, encoding):
    """An editor put a byte-order mark before the settings, and the model was not readable."""
    folder = write_1_3_0_folder(tmp_path / "model")
    expected = read_config(folder)
    text = (folder / "separator.json").read_text()
    (folder / "separator.json").write_text(text, encoding)
    assert read_config(folder) == expected


def test_key_that_is_there_twice_is_named(tmp_path):
    text = '{"nfft": 64, "nhop": 16, "nhop": 8, "sample_rate": 8000, "nb_channels": 2}'
    (tmp_path / "separator.json").write_text(text)
    with pytest.raises(CheckpointError, match="'nhop' is there twice"):
        read_config(tmp_path)


def test_folder_in_the_place_of_separator_json_is_an_error(tmp_path):
    (tmp_path / "separator.json").mkdir()
    with pytest.raises(CheckpointError, match=r"separator\.json is not readable"):
        read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\ud83d", "[" * 100_000])
def test_separator_json_that_is_no_object_is_an_error(tmp_path, text):
    (tmp_path / "separator.json").write_text(text, "utf-8", errors="surrogatepass")
    with pytest.raises(CheckpointError, match=r"separator\.json"):
        read_config(tmp_path)
