"""Model folders: what is found, what is refused, and that nothing is lost on the way to disk."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import astuple

import numpy as np
import pytest
import torch
from helpers.weights_server import pickled, tiny_network
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.errors import CheckpointError
from openunmix.model import Architecture
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


def write_1_3_0_folder(folder, targets=("vocals", "drums"), **changes):
    """Write a folder as openunmix 1.3.0 does after training."""
    folder.mkdir(exist_ok=True)
    for seed, target in enumerate(targets):
        network = tiny_network(seed, **changes)
        torch.save(network.state_dict(), folder / f"{target}.pth")
        args = {"nfft": 64, "nb_channels": 2, "hidden_size": 8}
        (folder / f"{target}.json").write_text(json.dumps({"args": args, "best_loss": 0.5}))
    config = {"nfft": 64, "nhop": 16, "sample_rate": 8000.0, "nb_channels": 2}
    (folder / "separator.json").write_text(json.dumps(config))
    return folder


def same(network, other):
    """Tell whether two networks compute the same."""
    magnitude = torch.rand(1, network.nb_channels, network.nb_output_bins, 5)
    with torch.no_grad():
        return torch.equal(network(magnitude), other(magnitude))


ARCHITECTURES = [
    {},
    {"nb_channels": 1},
    {"hidden_size": 6},
    {"max_bin": None},
    {"nb_layers": 1},
    {"nb_layers": 5},
    {"compression": 0.25},
    # 1.3.0 could write a model trained with --unidirectional, but not load it.
    {"unidirectional": True},
    {"unidirectional": True, "hidden_size": 7, "nb_layers": 2, "nb_channels": 3},
]


@pytest.mark.parametrize("changes", ARCHITECTURES)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_architecture_is_read_from_the_weights(tmp_path, changes, suffix):
    network = tiny_network(**changes)
    save_network(tmp_path, "vocals", network)
    torch.save(network.state_dict(), tmp_path / "vocals.pth")
    loaded = load_network(tmp_path / f"vocals.{suffix}")
    for name in ("nb_output_bins", "nb_bins", "nb_channels", "hidden_size", "nb_layers"):
        assert getattr(loaded, name) == getattr(network, name)
    assert loaded.unidirectional == network.unidirectional
    assert loaded.compression == network.compression
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert same(network, loaded)


def test_loading_leaves_the_random_generator_alone(tmp_path):
    path = save_network(tmp_path, "vocals", tiny_network())
    before = torch.get_rng_state()
    load_network(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_network_can_be_trained(tmp_path):
    network = load_network(save_network(tmp_path, "vocals", tiny_network())).train()
    network(torch.rand(2, 2, 33, 4)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert not same(network.eval(), tiny_network())


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


@pytest.mark.parametrize("wrap", [dict, lambda state: {"state_dict": state, "epoch": 3}])
def test_training_state_is_accepted_like_weights(tmp_path, wrap):
    path = tmp_path / "vocals.chkpnt"
    torch.save(wrap(tiny_network(3).state_dict()), path)
    assert same(load_network(path), tiny_network(3))


def test_keys_of_early_versions_are_dropped(tmp_path):
    state = tiny_network().state_dict()
    state["stft.window"] = state["transform.0.window"] = torch.hann_window(64)
    state["sample_rate"] = torch.tensor(44100)
    for norm in ("bn1", "bn2", "bn3"):
        del state[f"{norm}.num_batches_tracked"]
    torch.save(state, tmp_path / "vocals.pth")
    assert same(load_network(tmp_path / "vocals.pth"), tiny_network())


# Not the counts of batches, which early versions of torch did not keep.
KEYS = [key for key in tiny_network().state_dict() if not key.endswith("num_batches_tracked")]


@pytest.mark.parametrize("key", KEYS)
def test_every_missing_key_is_named(tmp_path, key):
    # 1.3.0 loaded such a file without a word, with random numbers in place of what is missing.
    state = tiny_network().state_dict()
    del state[key]
    torch.save(state, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"vocals.pth is not a network"):
        load_network(tmp_path / "vocals.pth")


@pytest.mark.parametrize("key", ["fc3.weight", "lstm.weight_hh_l1", "bn2.bias", "output_scale"])
def test_wrong_shape_is_named(tmp_path, key):
    state = tiny_network().state_dict()
    state[key] = state[key][:-1]
    torch.save(state, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=key):
        load_network(tmp_path / "vocals.pth")


def test_unknown_key_is_named(tmp_path):
    torch.save({**tiny_network().state_dict(), "fc4.weight": torch.ones(1)}, tmp_path / "v.pth")
    with pytest.raises(CheckpointError, match=r"'fc4.weight' has shape \(1,\), expected no such"):
        load_network(tmp_path / "v.pth")


@pytest.mark.parametrize("power", [torch.tensor(7.0), torch.tensor(0.0), torch.ones(2)])
def test_impossible_power_of_the_input_is_refused(tmp_path, power):
    torch.save({**tiny_network().state_dict(), "compression": power}, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"vocals.pth is not a network.*compression="):
        load_network(tmp_path / "vocals.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_values_that_are_not_finite_are_refused(tmp_path, value, suffix):
    network = tiny_network()
    network.fc2.weight.data[0, 0] = value
    save_network(tmp_path, "vocals", network)
    torch.save(network.state_dict(), tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"'fc2.weight'.*not finite"):
        load_network(tmp_path / f"vocals.{suffix}")


class _Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    witness = tmp_path / "witness"
    state = {**tiny_network().state_dict(), "code": _Malice(str(witness))}
    torch.save(state, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match="refused") as caught:
        load_network(tmp_path / "vocals.pth")
    assert not witness.exists()
    assert "weights_only" not in str(caught.value)


def test_huge_tensor_of_few_bytes_is_refused(tmp_path):
    state = tiny_network().state_dict()
    state["output_mean"] = torch.ones(1).expand(10**12)
    torch.save(state, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match="more values than it holds"):
        load_network(tmp_path / "vocals.pth")


@pytest.mark.parametrize("content", [[], {}, {"a": 1}, {1: torch.ones(1)}, torch.ones(3)])
def test_anything_but_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"vocals\.pth"):
        load_network(tmp_path / "vocals.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_is_an_error_of_ours_or_harmless(tmp_path_factory, suffix, data):
    folder = tmp_path_factory.mktemp("damaged")
    good = save_network(folder, "vocals", tiny_network()).read_bytes()
    if suffix == "pth":
        good = pickled(tiny_network().state_dict())
    damaged = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            # The header is where damage has the most ways to show.
            place = data.draw(st.integers(0, min(len(damaged), 2000) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
    path = folder / f"x.{suffix}"
    path.write_bytes(damaged)
    try:
        network = load_network(path)
    except CheckpointError:
        return
    assert all(value.isfinite().all() for value in network.state_dict().values())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=300))
def test_file_of_anything_is_refused(tmp_path_factory, suffix, content):
    path = tmp_path_factory.mktemp("anything") / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_network(path)


def test_missing_file_is_refused(tmp_path):
    for name in ("x.pth", "x.safetensors"):
        with pytest.raises(CheckpointError, match=name[:3]):
            load_network(tmp_path / name)


def test_half_precision_keeps_vectors_exact(tmp_path):
    network = tiny_network()
    network.input_scale.data[0] = 1e6  # more than half precision can hold
    path = save_network(tmp_path, "vocals", network, dtype=torch.float16)
    loaded = load_network(path)
    assert all(value.dtype == torch.float32 for value in loaded.parameters())
    for key, value in network.state_dict().items():
        expected = value.half().float() if value.ndim == 2 else value
        assert torch.equal(loaded.state_dict()[key], expected)
    full = save_network(tmp_path, "drums", network).stat().st_size
    assert path.stat().st_size < 0.8 * full


def test_matrix_too_large_for_half_precision_is_refused(tmp_path):
    network = tiny_network()
    network.fc1.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"fc1.weight.*float16"):
        save_network(tmp_path, "vocals", network, dtype=torch.float16)
    assert not (tmp_path / "vocals.safetensors").exists()


def test_files_are_readable_by_the_safetensors_package(tmp_path):
    from safetensors.torch import load_file

    network = tiny_network()
    state = load_file(save_network(tmp_path, "vocals", network))
    assert set(state) == set(network.state_dict())
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


def test_metadata_tells_the_architecture_that_was_saved(tmp_path):
    save_network(
        tmp_path,
        "vocals",
        tiny_network(unidirectional=True),
        {"best_loss": 0.25, "args": {"hidden_size": 512, "lr": 0.001}},
    )
    content = json.loads((tmp_path / "vocals.json").read_text())
    assert content["best_loss"] == 0.25
    assert content["args"] == {
        "hidden_size": 8,
        "lr": 0.001,
        "nfft": 64,
        "nb_channels": 2,
        "nb_layers": 3,
        "unidirectional": True,
        "max_bin": 24,
    }


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


@pytest.mark.parametrize("text", ["", "[]", "{", "\ud83d", "[" * 100_000])
def test_separator_json_that_is_no_object_is_an_error(tmp_path, text):
    (tmp_path / "separator.json").write_text(text, "utf-8", errors="surrogatepass")
    with pytest.raises(CheckpointError, match=r"separator\.json"):
        read_config(tmp_path)


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


def test_statistics_survive_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    network = tiny_network(input_mean=rng.random(33), input_scale=rng.random(33) + 0.1)
    loaded = load_network(save_network(tmp_path, "vocals", network))
    assert torch.equal(loaded.input_mean, network.input_mean)
    assert torch.equal(loaded.input_scale, network.input_scale)
