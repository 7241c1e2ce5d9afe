"""The command ``umx-models``."""

from __future__ import annotations

import json
from dataclasses import astuple
from unittest.mock import patch

import pytest
import torch
from helpers.weights_server import Behaviour, make_entry, pickled, serving, tiny_network

from openunmix.cli._models import main
from openunmix.predict.export import export_onnx
from openunmix.pretrained import load_separator, registry
from openunmix.pretrained.download import cache_folder, cached_path
from openunmix.pretrained.folder import SeparatorConfig, load_folder, save_config, save_network
from openunmix.pretrained.registry import MODELS
from openunmix.transforms.fourier import STFTConfig

CONFIG = SeparatorConfig(STFTConfig(64, 16, 8000.0), channels=2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    for name in ("OPENUNMIX_MIRROR", "OPENUNMIX_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan():
    return Behaviour()


@pytest.fixture
def tiny(plan):
    """Publish a model of the name tiny, and no other."""
    contents = {
        target: pickled(tiny_network(seed).state_dict())
        for seed, target in enumerate(["vocals", "drums"])
    }
    with serving(plan) as url:
        entry = make_entry(contents, url)
        plan.files.update({entry.files[target].name: contents[target] for target in contents})
        # Deleting them one by one would put them back in the reverse order.
        with patch.dict(MODELS, {"tiny": entry}, clear=True):
            yield entry


def line_of(text, name):
    """Return the line of a table that begins with a name."""
    return next(line for line in text.splitlines() if line.split()[0] == name)


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_table_tells_all_about_every_model(capsys, arguments):
    assert main(arguments) == 0
    output = capsys.readouterr().out
    line = line_of(output, "umxl")
    for cell in ("vocals drums bass other", "44100 Hz", "452 MB", "CC BY-NC-SA 4.0"):
        assert cell in line
    assert line.endswith("not downloaded")
    assert all(line_of(output, name) for name in MODELS)


def test_state_in_the_table_follows_the_cache(tiny, capsys):
    states = []
    for target in tiny.targets:
        main(["list"])
        states.append(line_of(capsys.readouterr().out, "tiny").split("CC0 1.0")[1].strip())
        path = cached_path(tiny.files[target])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    main(["list"])
    states.append(line_of(capsys.readouterr().out, "tiny").split("CC0 1.0")[1].strip())
    assert states == ["not downloaded", "1 of 2 cached", "cached"]


def test_state_of_the_bundled_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path)
    main(["list"])
    assert line_of(capsys.readouterr().out, "umxs").endswith("missing from this copy")
    for target in MODELS["umxs"].targets:
        save_network(tmp_path / "umxs", target, tiny_network())
    main(["list"])
    assert line_of(capsys.readouterr().out, "umxs").endswith("bundled")


def test_download_fills_the_cache(tiny, capsys):
    assert main(["download", "tiny"]) == 0
    assert all(cached_path(file).is_file() for file in tiny.files.values())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(cache_folder()) in captured.err


def test_failed_download_is_told_on_stderr_and_does_not_stop_the_others(
    tiny, plan, capsys, monkeypatch
):
    broken = make_entry({"vocals": b"not there"}, tiny.url, name="broken")
    monkeypatch.setitem(MODELS, "broken", broken)
    assert main(["download", "broken", "tiny"]) == 1
    assert "404" in capsys.readouterr().err
    assert all(cached_path(file).is_file() for file in tiny.files.values())


def test_unknown_model_is_wrong_usage(tiny, plan, capsys):
    for action in ("download", "verify"):
        assert main([action, "tinny"]) == 2
        assert "did you mean 'tiny'" in capsys.readouterr().err
    assert main(["convert", "tinny", "out"]) == 2
    assert not plan.requests


@pytest.mark.parametrize("arguments", [["frobnicate"], ["download"], ["convert", "tiny"]])
def test_wrong_arguments_are_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: umx-models" in capsys.readouterr().err


def test_verify_loads_what_is_here(tiny, capsys):
    assert main(["verify"]) == 0
    assert "there are no models on this machine yet" in capsys.readouterr().err
    main(["download", "tiny"])
    assert main(["verify"]) == 0
    assert capsys.readouterr().out == "tiny: good\n"


def test_verify_downloads_nothing(tiny, plan, capsys):
    assert main(["verify", "tiny"]) == 1
    assert "umx-models download tiny" in capsys.readouterr().err
    assert not plan.requests


def test_verify_finds_damage(tiny, capsys):
    main(["download", "tiny"])
    path = cached_path(tiny.files["drums"])
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert main(["verify", "tiny"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "drums" in captured.err
    assert "damaged" in captured.err


def test_verify_checks_folders_too(tmp_path, capsys):
    path = save_network(tmp_path / "mine", "vocals", tiny_network())
    save_config(tmp_path / "mine", CONFIG)
    assert main(["verify", str(tmp_path / "mine")]) == 0
    path.write_bytes(b"")
    assert main(["verify", str(tmp_path / "mine")]) == 1
    assert "exchanged" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16", "float32"])
def test_known_model_is_converted_to_a_folder(tiny, tmp_path, dtype):
    options = ["--dtype", dtype] if dtype else []
    assert main(["convert", "tiny", str(tmp_path / "out"), *options]) == 0
    networks, config, files = load_folder(tmp_path / "out")
    assert {file.name for file in files.values()} == {"vocals.safetensors", "drums.safetensors"}
    assert (*astuple(config.stft), config.channels) == (64, 16, 8000, 2)
    assert set(config.sha256) == {"vocals.safetensors", "drums.safetensors"}
    expected = tiny_network(0).state_dict()
    stored = getattr(torch, dtype or "float32")
    for key, value in networks["vocals"].state_dict().items():
        wanted = expected[key].to(stored).float() if value.ndim == 2 else expected[key]
        assert torch.equal(value, wanted)
    origin = json.loads((tmp_path / "out" / "vocals.json").read_text())["converted_from"]
    assert origin["model"] == "tiny"
    assert len(origin["sha256"]) == 64


def test_model_is_converted_to_four_bits(tiny, tmp_path):
    assert main(["convert", "tiny", str(tmp_path / "out"), "--dtype", "int4"]) == 0
    networks, _, files = load_folder(tmp_path / "out")
    expected = tiny_network(0).fc2.weight
    assert 0 < (networks["vocals"].fc2.weight - expected).abs().max() < 0.1
    assert b"fc2.weight.step" in files["vocals"].read_bytes()


def test_folder_of_1_3_0_is_converted(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    torch.save(tiny_network(4).state_dict(), folder / "vocals.pth")
    config = {"nfft": 64, "nhop": 16, "sample_rate": 8000.0, "nb_channels": 2, "note": "kept"}
    (folder / "separator.json").write_text(json.dumps(config))
    assert main(["convert", str(folder), str(tmp_path / "new")]) == 0
    assert load_folder(tmp_path / "new").config.extra == {"note": "kept"}


def test_damaged_file_is_not_converted(tmp_path, capsys):
    (tmp_path / "vocals.pth").write_bytes(b"damaged")
    assert main(["convert", str(tmp_path / "vocals.pth"), str(tmp_path / "out")]) == 1
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_path_is_the_cache(capsys):
    assert main(["path"]) == 0
    assert capsys.readouterr().out == f"{cache_folder()}\n"


def test_licences_name_data_and_citation(capsys):
    assert main(["licences"]) == 0
    output = capsys.readouterr().out
    for entry in MODELS.values():
        assert f"{entry.name}: {entry.licence}" in output
        assert entry.trained_on in output
        assert entry.citation in output


def test_licences_that_are_only_reported_are_marked(capsys):
    main(["licences"])
    line = line_of(capsys.readouterr().out, "umxhq")
    assert "MIT, as reported, not checked here" in line
    assert line.split()[-2:] == ["MUSDB18-HQ", "no"]


def test_licences_as_json_keep_what_is_not_known(capsys):
    assert main(["licences", "--json"]) == 0
    records = {record["model"]: record for record in json.loads(capsys.readouterr().out)}
    assert list(records) == list(MODELS)
    assert records["umxl"]["training_data"]["commercial_use"] is None
    assert records["umxhq"]["commercial_use"] is True
    assert records["umxhq"]["known"] == "as reported, not checked here"
    assert records["umxhq"]["training_data"]["commercial_use"] is False
    assert len(records["umxhq"]["reported_by"]) == 3


@pytest.mark.parametrize(
    ("option", "names"),
    [(["--commercial"], ["umx", "umxhq", "umxse"]), (["--commercial", "data"], ["umxse"])],
)
def test_commercial_use_needs_a_licence_that_allows_it(capsys, option, names):
    assert main(["licences", *option, "--json"]) == 0
    captured = capsys.readouterr()
    assert [record["model"] for record in json.loads(captured.out)] == names
    assert "not checked here" in captured.err
    assert ("terms of the training data of umx, umxhq" in captured.err) == (len(names) > 1)


def test_no_model_for_commercial_use_is_said(monkeypatch, capsys):
    with patch.dict(MODELS, {"umxl": MODELS["umxl"]}, clear=True):
        assert main(["licences", "--commercial"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no known model" in captured.err


def test_download_from_a_mirror(tiny, plan, tmp_path, capsys):
    for target in tiny.targets:
        name = tiny.files[target].name
        (tmp_path / name).write_bytes(plan.files[name])
    assert main(["download", "tiny", "--mirror", f"{tmp_path},zenodo"]) == 0
    assert not plan.requests


@pytest.mark.parametrize("options", [[], ["--precision", "float16", "--targets", "drums"]])
def test_a_model_is_exported_with_what_it_is(tiny, capsys, options):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert main(["export", "tiny", "tiny.onnx", *options]) == 0
    assert "tiny written to tiny.onnx" in capsys.readouterr().err
    about = runtime.InferenceSession("tiny.onnx").get_modelmeta().custom_metadata_map
    targets = ["drums"] if options else ["vocals", "drums"]
    assert json.loads(about["targets"]) == targets
    assert list(json.loads(about["sha256"])) == targets
    assert (about["model"], about["licence"]) == ("tiny", tiny.licence)
    assert float(about["sample_rate"]) == tiny.config.stft.sample_rate


def test_published_networks_are_exported(tmp_path, capsys):
    """Official weights cannot be had here: random ones of the same shapes."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export_onnx(load_separator("umxhq", pretrained=False).eval(), "umxhq.onnx")
    targets, _, *rest = runtime.InferenceSession("umxhq.onnx").get_outputs()[0].shape
    assert [targets, *rest] == [4, 2, 2049]
