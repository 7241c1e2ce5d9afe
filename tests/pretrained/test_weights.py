"""Files of weights: what is refused, and that nothing is lost on the way to disk."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from helpers.models import same
from helpers.weights_server import pickled, tiny_network
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.errors import CheckpointError
from openunmix.pretrained.folder import (
    load_network,
    save_network,
)

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


def test_parameters_in_place_of_tensors_are_read(tmp_path):
    network = tiny_network()
    parameters = dict(network.named_parameters())
    torch.save({**network.state_dict(), **parameters}, tmp_path / "vocals.pth")
    assert same(network, load_network(tmp_path / "vocals.pth"))


def test_loaded_network_can_be_trained(tmp_path):
    network = load_network(save_network(tmp_path, "vocals", tiny_network())).train()
    network(torch.rand(2, 2, 33, 4)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert not same(network.eval(), tiny_network())


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


def test_name_of_the_compression_in_bundled_files_is_migrated(tmp_path):
    network = tiny_network(compression=0.25)
    state = network.state_dict()
    state["input_power"] = state.pop("compression")
    torch.save(state, tmp_path / "vocals.pth")
    loaded = load_network(tmp_path / "vocals.pth")
    assert same(loaded, network)
    assert loaded.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_values_that_are_not_finite_are_refused(tmp_path, value, suffix):
    network = tiny_network()
    network.fc2.weight.data[0, 0] = value
    save_network(tmp_path, "vocals", network)
    torch.save(network.state_dict(), tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"'fc2.weight'.*not finite"):
        load_network(tmp_path / f"vocals.{suffix}")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about its own tensors
@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to_sparse_csr(),
        lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        lambda weight: weight.to("meta"),
        lambda weight: torch.nested.nested_tensor([*weight]),
        lambda weight: weight.int(),
        lambda weight: weight.to(torch.complex64),
    ],
    ids=["sparse", "csr", "quantised", "meta", "nested", "int", "complex"],
)
def test_weights_that_are_no_plain_numbers_are_refused(tmp_path, change):
    """Weights were saved from a compressed network: an error of torch's kernels came up."""
    state = dict(tiny_network().state_dict())
    state["fc2.weight"] = change(state["fc2.weight"])
    torch.save(state, tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"'fc2.weight' is of torch\..*floating point"):
        load_network(tmp_path / "vocals.pth")


def test_weights_of_8_bits_are_read(tmp_path):
    state = dict(tiny_network().state_dict())
    state["fc2.weight"] = state["fc2.weight"].to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "vocals.pth")
    weight = load_network(tmp_path / "vocals.pth").fc2.weight
    assert torch.equal(weight, state["fc2.weight"].float())


def test_negative_variance_is_refused(tmp_path):
    """All estimates were NaN, and the song was said to be too loud."""
    network = tiny_network()
    network.bn1.running_var[2] = -1
    torch.save(network.state_dict(), tmp_path / "vocals.pth")
    with pytest.raises(CheckpointError, match=r"'bn1.running_var' has negative values"):
        load_network(tmp_path / "vocals.pth")


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


@pytest.mark.parametrize("dtype", [torch.float16, "int4"])
def test_matrix_too_large_for_half_precision_is_refused(tmp_path, dtype):
    network = tiny_network()
    network.fc1.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"fc1.weight.*float16"):
        save_network(tmp_path, "vocals", network, dtype=dtype)
    assert not (tmp_path / "vocals.safetensors").exists()


def test_vectors_beside_four_bits_are_of_half_precision_where_it_holds_them(tmp_path):
    from safetensors.torch import load_file

    network = tiny_network()
    network.input_scale.data[0] = 1e6
    path = save_network(tmp_path, "vocals", network, dtype="int4")
    stored = load_file(path)
    assert stored["bn1.running_var"].dtype == torch.float16
    assert stored["bn1.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(stored["input_scale"], network.input_scale)
    assert all(value.dtype == torch.float32 for value in load_network(path).parameters())


@pytest.mark.parametrize("changes", [{}, {"unidirectional": True, "hidden_size": 7}])
def test_four_bits_are_nearer_than_equal_parts_of_a_range(tmp_path, changes):
    network = tiny_network(**changes)
    path = save_network(tmp_path, "vocals", network, dtype="int4")
    loaded = load_network(path).state_dict()
    for key, value in network.state_dict().items():
        if value.ndim < 2:
            assert torch.allclose(
                loaded[key].float(), value.float(), rtol=0, atol=1e-3 * value.abs().max()
            )
        elif value.shape[-1] % 2:
            assert torch.equal(loaded[key], value.half().float())
        else:
            for columns in range(0, value.shape[-1], 32):
                group, found = value[:, columns : columns + 32], loaded[key][:, columns:][:, :32]
                low, step = group.amin(-1, keepdim=True), (group.amax(-1) - group.amin(-1)) / 15
                parts = low + ((group - low) / step[:, None]).round() * step[:, None]
                assert ((group - found).abs().amax(-1) <= step + 1e-4).all()
                assert (group - found).square().sum() < (group - parts).square().sum()


def test_four_bits_take_an_eighth_of_the_space(tmp_path):
    network = tiny_network(hidden_size=256)
    packed, full = (
        save_network(tmp_path, target, network, dtype=dtype).stat().st_size
        for target, dtype in (("vocals", "int4"), ("drums", None))
    )
    assert packed < full / 5


def test_groups_of_equal_values_survive_four_bits(tmp_path):
    network = tiny_network()
    network.fc1.weight.data.fill_(0.25)
    network.fc2.weight.data.fill_(0)
    loaded = load_network(save_network(tmp_path, "vocals", network, dtype="int4"))
    assert torch.equal(loaded.fc1.weight, network.fc1.weight)
    assert torch.equal(loaded.fc2.weight, network.fc2.weight)


@pytest.mark.parametrize(
    "fault",
    [
        lambda state: state.pop("fc1.weight.step"),
        lambda state: state.pop("fc1.weight"),
        lambda state: state.update({"fc1.weight": state["fc1.weight"][:, :-1].clone()}),
        lambda state: state.update({"fc1.weight.offset": state["fc1.weight.offset"][:1].clone()}),
        lambda state: state.update({"fc1.weight.step": state["fc1.weight.step"] * np.nan}),
        lambda state: state.update({"fc1.weight": torch.tensor(3, dtype=torch.uint8)}),
        lambda state: state.update({"bn1.bias": state["bn1.bias"].byte()}),
    ],
)
def test_damaged_matrices_of_four_bits_are_refused(tmp_path, fault):
    from safetensors.torch import load_file, save_file

    path = save_network(tmp_path, "vocals", tiny_network(), dtype="int4")
    state = load_file(path)
    fault(state)
    save_file(state, path)
    with pytest.raises(CheckpointError, match=r"vocals\.safetensors"):
        load_network(path)


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


def test_statistics_survive_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    network = tiny_network(input_mean=rng.random(33), input_scale=rng.random(33) + 0.1)
    loaded = load_network(save_network(tmp_path, "vocals", network))
    assert torch.equal(loaded.input_mean, network.input_mean)
    assert torch.equal(loaded.input_scale, network.input_scale)
