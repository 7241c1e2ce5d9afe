"""Networks as ONNX: what onnxruntime computes is what torch computes."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.models import frozen_separator

from openunmix.errors import MissingExtraError
from openunmix.model import Architecture, BandArchitecture, Separator
from openunmix.model.architecture import SMALLEST
from openunmix.predict._networks import networks_of
from openunmix.predict.export import export_onnx
from openunmix.predict.export.layers import _SMALLEST
from openunmix.pretrained import load_separator
from openunmix.transforms.fourier import STFTConfig

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

STFT = STFTConfig(256, 64, 8000.0)
SMALL = Architecture(hidden_size=8, nb_layers=2)
BANDS = BandArchitecture(hidden_size=8, nb_layers=2)
KINDS = {
    "apart": [SMALL, replace(SMALL, hidden_size=12, bandwidth=2000.0)],
    "compressed": [replace(SMALL, compression=0.25), SMALL],
    "shared": [replace(SMALL, shared=True)] * 2,
    "bridged": [replace(SMALL, bridged=True)] * 2,
    "causal": [replace(SMALL, unidirectional=True)] * 2,
    "one": [SMALL],
    "bands": [BANDS] * 2,
    "bands, shared": [replace(BANDS, shared=True, bandwidth=3000.0)] * 2,
    "bands, causal": [replace(BANDS, shared=True, unidirectional=True)] * 2,
    "bands, stride": [replace(BANDS, shared=True, stride=3)] * 2,
}
CAUSAL = [kind for kind in KINDS if "causal" in kind]
BIDIRECTIONAL = ["apart", "shared", "bands, shared"]


def separator(kind, channels=2):
    architectures = dict(zip(("vocals", "drums"), KINDS[kind], strict=False))
    return frozen_separator(architectures, STFT, channels)


def magnitudes(frames, channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 5 * torch.rand(frames, channels, STFT.bins, generator=generator)


def session(path):
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def torch_masks(made, x):
    """Masks (targets, frames, channels, bins) of the networks themselves."""
    batch = x.permute(1, 2, 0)[None]
    estimates = torch.stack(made._magnitudes(batch))[:, 0].permute(0, 3, 1, 2)
    return (estimates / x).detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 7, 100])
def test_masks_are_those_of_torch_for_any_number_of_frames(tmp_path, kind, frames):
    made, x = separator(kind), magnitudes(frames)
    export_onnx(made, tmp_path / "m.onnx")
    (masks,) = session(tmp_path / "m.onnx").run(["masks"], {"magnitude": x.numpy()})
    np.testing.assert_allclose(masks, torch_masks(made, x), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_of_other_channels(tmp_path, channels):
    made, x = separator("shared", channels), magnitudes(20, channels)
    export_onnx(made, tmp_path / "m.onnx")
    (masks,) = session(tmp_path / "m.onnx").run(["masks"], {"magnitude": x.numpy()})
    np.testing.assert_allclose(masks, torch_masks(made, x), atol=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_network_goes_on_from_its_states(tmp_path, kind):
    """A real-time host feeds a few frames at a time; the masks are those of the whole signal."""
    made, x = separator(kind), magnitudes(30).numpy()
    export_onnx(made, tmp_path / "m.onnx")
    run = session(tmp_path / "m.onnx")
    names = [i.name for i in run.get_overridable_initializers() if i.name.startswith("state")]
    (whole,) = run.run(["masks"], {"magnitude": x})
    states, parts = {}, []
    step = json.loads(run.get_modelmeta().custom_metadata_map["stride"])
    assert step == (2 if "bands" in kind else 1)
    for start in range(0, 30, step):
        outputs = ["masks", *(f"next_{name}" for name in names)]
        mask, *after = run.run(outputs, {"magnitude": x[start : start + step], **states})
        states = dict(zip(names, after, strict=True))
        parts.append(mask)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_those_of_the_chunk_alone(tmp_path, kind):
    """Nobody needs masks of the lookahead, and most of the computation would go there."""
    made, x = separator(kind), magnitudes(30)
    export_onnx(made, tmp_path / "m.onnx")
    run = session(tmp_path / "m.onnx")
    (masks,) = run.run(["masks"], {"magnitude": x.numpy(), "chunk": np.array([12])})
    assert masks.shape[1] == (30 if kind in CAUSAL else 12)
    np.testing.assert_allclose(masks, torch_masks(made, x)[:, : masks.shape[1]], atol=1e-5)
    about = run.get_modelmeta().custom_metadata_map
    assert json.loads(about["causal"]) == (kind in CAUSAL)


def test_compression_is_that_of_the_networks():
    assert _SMALLEST == SMALLEST


@pytest.mark.parametrize("kind", BIDIRECTIONAL)
def test_states_are_those_after_the_chunk_where_a_lookahead_follows(tmp_path, kind):
    """A stream in chunks gives frames after them; they must not count twice."""
    made, x = separator(kind), magnitudes(30)
    export_onnx(made, tmp_path / "m.onnx")
    run = session(tmp_path / "m.onnx")
    networks = networks_of(made, torch.float32, None, 0)
    with torch.no_grad():
        features = networks.encode(x)
        expected = [
            networks.run_recurrent(i, features, 12, None)[1] for i in set(networks.trunk_of)
        ]
    names = [f"next_state_{i}" for i in range(len(expected))]
    found = run.run(names, {"magnitude": x.numpy(), "chunk": np.array([12])})
    for states, layers in zip(found, expected, strict=True):
        for state, layer in zip(states, layers, strict=True):
            wanted = np.stack([part.reshape(state[0].shape) for part in layer])
            np.testing.assert_allclose(state, wanted, atol=1e-5)


def test_the_bundled_model_loses_nothing_as_float16_and_little_as_int8(tmp_path):
    made = load_separator("umxs")
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(40, 2, 2049, generator=generator) * torch.logspace(1, -2, 2049)
    masks, sizes = {}, {}
    for precision in ("float32", "float16", "int8"):
        file = tmp_path / f"{precision}.onnx"
        export_onnx(made, file, precision)
        (masks[precision],) = session(file).run(["masks"], {"magnitude": x.numpy()})
        sizes[precision] = file.stat().st_size
    assert sizes["float16"] < 0.51 * sizes["float32"]
    assert sizes["int8"] < 0.26 * sizes["float32"]
    assert np.abs(masks["float16"] - masks["float32"]).max() < 1e-3
    assert np.abs(masks["int8"] - masks["float32"]).mean() < 0.01


def test_the_file_says_what_it_is(tmp_path):
    export_onnx(separator("shared"), tmp_path / "m.onnx", metadata={"licence": "CC0"})
    about = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert about["licence"] == "CC0"
    assert json.loads(about["targets"]) == ["vocals", "drums"]
    assert [float(about[key]) for key in ("n_fft", "n_hop", "sample_rate")] == [256, 64, 8000]


def test_a_network_of_another_class_is_refused_and_leaves_no_file(tmp_path):
    made = Separator({"vocals": torch.nn.Identity()}, n_fft=256, n_hop=64)
    made.freeze()
    with pytest.raises(ValueError, match="only networks of OpenUnmix or BandUnmix"):
        export_onnx(made, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="choose from"):
        export_onnx(separator("one"), tmp_path / "m.onnx", "float8")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("openunmix.predict.export.graph._GATES", (0, 1, 2, 3))
    with pytest.raises(ValueError, match="differ from those of torch"):
        export_onnx(separator("shared"), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    found = builtins.__import__

    def missing(name, *rest, **more):
        if name == "onnx":
            raise ImportError(f"No module named {name!r}", name=name)
        return found(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"openunmix\[onnx\]"):
        export_onnx(separator("one"), tmp_path / "m.onnx")
