"""Model folders: which files are found, and what is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple

import pytest
import torch
from helpers.models import same, write_1_3_0_folder
from helpers.weights_server import pickled, tiny_network

from openunmix.errors import CheckpointError
from openunmix.pretrained.folder import (
    SeparatorConfig,
    find_weights,
    load_folder,
    load_network,
    read_config,
    save_checkpoint,
    save_config,
    save_network,
)
from openunmix.pretrained.registry import MODELS
from openunmix.transforms.fourier import STFTConfig

CONFIG = SeparatorConfig(STFTConfig(64, 16, 8000.0), channels=2)


def test_wrong_json_of_a_fine_tuned_model_does_no_harm(tmp_path):
    # 1.3.0 wrote the default hidden size of its command line into the JSON of a model that was
    # fine-tuned from a wider one, and could then not load it.
    folder = write_1_3_0_folder(tmp_path / "model")
    path = folder / "vocals.json"
    path.write_text(json.dumps({"args": {"nfft": 4096, "nb_channels": 1, "hidden_size": 512}}))
    assert same(load_folder(folder).networks["vocals"], tiny_network(0))


def test_folder_of_1_3_0_is_loaded(tmp_path):
    folder = write_1_3_0_folder(tmp_path / "model")
    networks, config, files = load_folder(folder)
    assert list(networks) == ["drums", "vocals"]
    assert same(networks["vocals"], tiny_network(0))
    assert same(networks["drums"], tiny_network(1))
    assert (*astuple(config.stft), config.channels) == (64, 16, 8000, 2)
    assert files["vocals"] == folder / "vocals.pth"


def test_targets_are_loaded_in_the_order_asked_for(tmp_path):
    folder = write_1_3_0_folder(tmp_path / "model")
    assert list(load_folder(folder, ["vocals", "drums"]).networks) == ["vocals", "drums"]
    assert list(load_folder(folder, ["drums"]).networks) == ["drums"]


def test_missing_target_is_named_with_what_is_there(tmp_path):
    folder = write_1_3_0_folder(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"'guitar'.*it has drums, vocals"):
        load_folder(folder, ["vocals", "guitar"])


def test_missing_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(CheckpointError, match="no folder or file"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no weights"):
        load_folder(tmp_path)


def touch(folder, *names):
    """Make empty files."""
    for name in names:
        (folder / name).touch()


def found_names(folder, targets=None):
    """Return the file name found for every target."""
    return {target: file.name for target, file in find_weights(folder, targets).items()}


def test_names_with_hashes_are_targets(tmp_path):
    touch(tmp_path, "vocals-b62c91ce.pth", "speech_f5e0d9f9.pth", "separator.json", "notes.txt")
    assert found_names(tmp_path) == {
        "speech": "speech_f5e0d9f9.pth",
        "vocals": "vocals-b62c91ce.pth",
    }


def test_exact_name_wins_and_safetensors_before_pth(tmp_path):
    touch(tmp_path, "vocals-b62c91ce.pth", "vocals.pth", "vocals_old.pth")
    assert found_names(tmp_path, ["vocals"]) == {"vocals": "vocals.pth"}
    touch(tmp_path, "vocals.safetensors")
    assert found_names(tmp_path, ["vocals"]) == {"vocals": "vocals.safetensors"}


def test_longer_name_is_taken_if_there_is_only_one(tmp_path):
    touch(tmp_path, "vocals_best.pth", "vocals.json", "bass.pth", "bassoon.pth")
    assert found_names(tmp_path) == {
        "bass": "bass.pth",
        "bassoon": "bassoon.pth",
        "vocals": "vocals_best.pth",
    }


def test_target_is_not_found_in_the_middle_of_another_word(tmp_path):
    touch(tmp_path, "bassoon.pth")
    with pytest.raises(CheckpointError, match="it has bassoon"):
        find_weights(tmp_path, ["bass"])


def test_wildcards_and_paths_in_a_target_mean_nothing(tmp_path):
    (tmp_path / "model").mkdir()
    touch(tmp_path, "secret.pth")
    touch(tmp_path / "model", "vocals.pth")
    for target in ("voc*", "../secret", "", "."):
        with pytest.raises(CheckpointError):
            find_weights(tmp_path / "model", [target])


@pytest.mark.parametrize(
    "names",
    [("vocals-b62c91ce.pth", "vocals-c8df74a5.pth"), ("vocals_a.pth", "vocals_b.safetensors")],
)
def test_several_files_for_a_target_are_not_guessed_from(tmp_path, names):
    # 1.3.0 took the first one that the file system listed.
    touch(tmp_path, *names)
    with pytest.raises(CheckpointError, match="several files") as caught:
        find_weights(tmp_path, ["vocals"])
    assert all(name in str(caught.value) for name in names)


def test_single_file_is_a_model_of_one_target(tmp_path, caplog):
    torch.save(tiny_network().state_dict(), tmp_path / "vocals-finetuned.pth")
    networks, config, _ = load_folder(tmp_path / "vocals-finetuned.pth")
    assert list(networks) == ["vocals"]
    assert (*astuple(config.stft), config.channels) == (64, 16, 44100, 2)
    assert "separator.json" in caplog.text
    with pytest.raises(CheckpointError, match=r"'drums'.*it has vocals"):
        load_folder(tmp_path / "vocals-finetuned.pth", ["drums"])


def test_published_files_need_no_separator_json(tmp_path, caplog):
    # The records on Zenodo come without it.
    entry = MODELS["umxse"]
    name = entry.files["speech"].name
    network = tiny_network(nb_bins=513, nb_channels=1, max_bin=513)
    (tmp_path / name).write_bytes(pickled(network.state_dict()))
    config = load_folder(tmp_path).config
    assert (*astuple(config.stft), config.channels) == (
        1024,
        512,
        16000,
        1,
    )
    assert caplog.text == ""


def test_network_that_does_not_fit_separator_json_is_refused(tmp_path):
    folder = write_1_3_0_folder(tmp_path / "model")
    torch.save(tiny_network(nb_channels=1).state_dict(), folder / "drums.pth")
    with pytest.raises(CheckpointError, match=r"drums.pth is a network for 33 bins and 1 channels"):
        load_folder(folder)


@pytest.mark.parametrize("target", ["", "../vocals", "a/b", ".hidden", "a.b", "a\\b", "C:"])
def test_target_that_is_no_file_name_is_refused(tmp_path, target):
    with pytest.raises(ValueError, match="target"):
        save_network(tmp_path / "folder", target, tiny_network())
    with pytest.raises(ValueError, match="target"):
        save_checkpoint({"state_dict": {}}, True, tmp_path, target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["keys", "type", "training", "forward"])
def test_target_with_the_name_of_something_in_torch_is_named(tmp_path, target):
    """A separator of such a model failed with torch's bare KeyError."""
    with pytest.raises(ValueError, match=f"{target!r} is a name that torch uses itself"):
        save_network(tmp_path, target, tiny_network())
    torch.save(tiny_network().state_dict(), tmp_path / f"{target}.pth")
    for place in (tmp_path, tmp_path / f"{target}.pth"):
        with pytest.raises(CheckpointError, match=f"rename it, {target!r} is a name that torch"):
            load_folder(place)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = save_network(tmp_path, "vocals", tiny_network(1))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_network(tmp_path, "vocals", tiny_network(2), {"not JSON": {1, 2}})
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        save_checkpoint({"state_dict": lambda: None}, True, tmp_path, "vocals")
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "vocals.json",
        "vocals.safetensors",
    ]


def test_hash_on_record_is_checked(tmp_path):
    path = save_network(tmp_path, "vocals", tiny_network(1))
    save_config(tmp_path, CONFIG)
    recorded = read_config(tmp_path).sha256
    assert recorded == {"vocals.safetensors": hashlib.sha256(path.read_bytes()).hexdigest()}
    load_folder(tmp_path)
    other = save_network(tmp_path / "other", "vocals", tiny_network(2))
    path.write_bytes(other.read_bytes())
    with pytest.raises(CheckpointError, match="damaged or was exchanged"):
        load_folder(tmp_path)


def test_weights_saved_anew_do_not_contradict_the_record(tmp_path):
    save_network(tmp_path, "vocals", tiny_network(1))
    save_network(tmp_path, "drums", tiny_network(1))
    save_config(tmp_path, CONFIG)
    save_network(tmp_path, "vocals", tiny_network(2))
    assert same(load_folder(tmp_path).networks["vocals"], tiny_network(2))
    assert set(read_config(tmp_path).sha256) == {"drums.safetensors"}


def test_checkpoint_of_1_3_0_is_written_and_only_the_best_becomes_weights(tmp_path):
    first, second = tiny_network(1), tiny_network(2)
    optimizer = torch.optim.Adam(first.parameters())
    state = {"epoch": 1, "best_loss": 0.5, "optimizer": optimizer.state_dict(), "scheduler": {}}
    save_checkpoint({**state, "state_dict": first.state_dict()}, True, tmp_path, "vocals")
    save_checkpoint({**state, "state_dict": second.state_dict()}, False, str(tmp_path), "vocals")
    assert same(load_network(tmp_path / "vocals.pth"), first)
    assert same(load_network(tmp_path / "vocals.chkpnt"), second)
    content = torch.load(tmp_path / "vocals.chkpnt", weights_only=True)
    assert set(content) == {"epoch", "best_loss", "optimizer", "scheduler", "state_dict"}
    assert len(list(tmp_path.iterdir())) == 2
