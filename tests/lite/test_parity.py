"""The light package computes what this one does; ``lite/tests`` has the tests of it alone."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.models import frozen_separator

from openunmix.audio import AudioWriter, read_audio
from openunmix.model import Architecture, BandArchitecture
from openunmix.predict import separate
from openunmix.predict.export import export_onnx
from openunmix.predict.file_stream import blocks_of, separate_stream
from openunmix.pretrained import load_separator
from openunmix.transforms.fourier import STFTConfig

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import build_model
import openunmix_lite as lite
from openunmix_lite.audio import open_audio

ROOT = Path(__file__).parents[2]
LITE = ROOT / "lite"
STFT = STFTConfig(256, 64, 8000.0)
SMALL = Architecture(hidden_size=8, nb_layers=2)
BANDS = BandArchitecture(hidden_size=8, nb_layers=2)
KINDS = {
    "apart": SMALL,
    "shared": replace(SMALL, shared=True, compression=0.25),
    "bridged": replace(SMALL, bridged=True),
    "causal": replace(SMALL, unidirectional=True),
    "bands": replace(BANDS, shared=True),
}


def separator(architecture, channels=2, targets=("vocals", "drums")):
    return frozen_separator(dict.fromkeys(targets, architecture), STFT, channels, niter=1)


def song(channels, samples):
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(channels, samples, generator=generator)


def check_equal(made, path, mixture, rate, tolerance_db):
    parts = separate_stream(made, blocks_of(mixture), len(mixture), rate)
    expected = np.concatenate([part.estimates for part in parts], axis=-1)
    found = lite.separate(mixture.numpy(), rate, lite.Model(path))
    assert list(found) == list(made.target_models)
    for target, reference in zip(found, expected, strict=True):
        error = np.square(found[target] - reference).mean() / np.square(reference).mean()
        assert 10 * np.log10(error) < tolerance_db


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [8000, 11025])
def test_every_architecture_separates_alike(tmp_path, kind, rate, monkeypatch):
    """In chunks, with lookahead or states alone."""
    monkeypatch.setattr("openunmix_lite.stream.CHUNK", 600)
    made = separator(KINDS[kind])
    export_onnx(made, tmp_path / "m.onnx")
    check_equal(made, tmp_path / "m.onnx", song(2, 64 * 1700), rate, -80)


@pytest.mark.parametrize(("networks", "channels"), [(2, 1), (1, 1), (1, 2)])
def test_mono(tmp_path, networks, channels):
    made = separator(SMALL, networks)
    export_onnx(made, tmp_path / "m.onnx")
    check_equal(made, tmp_path / "m.onnx", song(channels, 20000), 8000, -80)


def test_one_target(tmp_path):
    made = separator(SMALL, targets=("vocals",))
    export_onnx(made, tmp_path / "m.onnx")
    check_equal(made, tmp_path / "m.onnx", song(2, 20000), 8000, -80)


@pytest.mark.parametrize("options", [{"niter": 0}, {"niter": 2}, {"softmask": True}])
def test_options_of_the_filter(tmp_path, options):
    made = separator(SMALL)
    export_onnx(made, tmp_path / "m.onnx")
    for name, value in options.items():
        setattr(made, name, value)
    mixture = song(2, 20000)
    expected = separate(mixture, 8000, separator=made)
    model, settings = lite.Model(tmp_path / "m.onnx"), lite.FilterOptions(**options)
    found = lite.separate(mixture.numpy(), 8000, model, settings)
    for target, estimate in expected.items():
        np.testing.assert_allclose(found[target], estimate[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5, 6, 8])
@pytest.mark.parametrize("extension", [".wav", ".flac"])
def test_surround_is_mixed_down_alike(tmp_path, channels, extension):
    path = tmp_path / f"song{extension}"
    soundfile.write(path, song(channels, 5000).T.numpy(), 44100)
    expected = read_audio(path, stereo=True).waveform
    found = np.concatenate(list(open_audio(path).blocks), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("extension", [".m4a", ".mp3"])
def test_what_ffmpeg_decodes_is_read_alike(tmp_path, extension):
    path = tmp_path / f"song{extension}"
    with AudioWriter(path, 44100, 2) as writer:
        writer.write(song(2, 50_000).numpy())
    expected = read_audio(path).waveform
    found = np.concatenate(list(open_audio(path).blocks), axis=1)
    np.testing.assert_array_equal(found, expected)


def test_files_that_cannot_be_used_are_named(tmp_path):
    soundfile.write(tmp_path / "nine.wav", song(9, 500).T.numpy(), 44100)
    _write_adts(tmp_path / "mono.aac", 1)
    _write_adts(tmp_path / "stereo.aac", 2)
    parts = [(tmp_path / name).read_bytes() for name in ("mono.aac", "stereo.aac")]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    model = lite.Model(ROOT / "docs" / "onnx" / "tiny.onnx")
    for name, message in (("nine.wav", "9 channels"), ("both.aac", "changes its format")):
        with pytest.raises(lite.LiteError, match=f"{name}.*{message}"):
            lite.separate_file(tmp_path / name, tmp_path / "out", model)


def _write_adts(path, channels):
    import av

    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=44100, layout=("mono", "stereo")[channels - 1])
        samples = song(channels, 40_000).numpy()
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=stream.layout.name)
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_the_model_that_is_built_without_torch_is_the_exported_one(tmp_path):
    build_model.write_model(
        Path(build_model.__file__).parents[1] / "openunmix", tmp_path / "a.onnx"
    )
    made = load_separator("umxs")
    export_onnx(made, tmp_path / "b.onnx", "float16")
    assert _graph(tmp_path / "a.onnx") == _graph(tmp_path / "b.onnx")
    made.niter = 1
    # float16 rounds values that are stored in four bits with scales of 32.
    check_equal(made, tmp_path / "a.onnx", song(2, 100_000), 44100, -65)


def _graph(path):
    import onnx

    return onnx.load(path).graph


def test_more_channels_than_the_filter_knows_are_refused(tmp_path):
    export_onnx(separator(SMALL, 4), tmp_path / "m.onnx")
    with pytest.raises(lite.LiteError, match="4 channels"):
        lite.Model(tmp_path / "m.onnx")


def test_a_graph_of_another_kind_is_refused(tmp_path):
    from onnx import TensorProto, helper, save

    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", *zip(values))
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(lite.LiteError, match="is no export of Open-Unmix"):
        lite.Model(tmp_path / "m.onnx")


def test_the_package_is_short_enough_to_be_read():
    """As docs/lite.md says."""
    files = {path.stem: path.read_text("utf-8") for path in (LITE / "openunmix_lite").glob("*.py")}
    names = ("fourier", "model", "wiener", "stream")
    assert sum(len(files[name].splitlines()) for name in names) < 600
    assert sum(lines_of_code(text) for text in files.values()) < 800


def lines_of_code(text):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    docstrings = {
        number
        for node in nodes
        if ast.get_docstring(node)
        for number in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and number not in docstrings for number, line in lines)


def test_the_versions_are_one():
    import openunmix

    text = (LITE / "pyproject.toml").read_text("utf-8")
    assert f'version = "{openunmix.__version__}"' in text
