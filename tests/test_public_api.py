"""The names of openunmix 1.3.0 are a contract; only what changed on purpose is different here."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import openunmix
from openunmix import filtering, model, transforms, utils
from openunmix.pretrained.registry import MODELS

SPEC = "targets=None, device='cpu', pretrained=True"
MUSIC = (
    "targets=None, residual=False, niter=1, device='cpu', pretrained=True, wiener_win_len=300, "
    "filterbank='torch'"
)
# The last two are the other way round, as they were in 1.3.0.
SPEECH = (
    "targets=None, residual=False, niter=1, device='cpu', pretrained=True, filterbank='torch', "
    "wiener_win_len=300"
)

SIGNATURES = {
    "openunmix": {
        **dict.fromkeys(["umx", "umxhq", "umxl", "umxs", "umxlive"], MUSIC),
        **dict.fromkeys(["umxse", "umxses"], SPEECH),
        **dict.fromkeys([f"{name}_spec" for name in MODELS], SPEC),
    },
    "openunmix.predict": {
        # The default model was umxl.
        "separate": (
            "audio, rate=None, model_str_or_path='umxhq', targets=None, niter=1, residual=False, "
            "wiener_win_len=300, aggregate_dict=None, separator=None, device=None, "
            "filterbank='torch'"
        ),
    },
    "openunmix.utils": {
        "AverageMeter": "",
        "AverageMeter.reset": "self",
        "AverageMeter.update": "self, val, n=1",
        "EarlyStopping": "mode='min', min_delta=0, patience=10",
        "EarlyStopping.step": "self, metrics",
        "bandwidth_to_max_bin": "rate, n_fft, bandwidth",
        # The targets had no default, and the default model was umxl.
        "load_target_models": (
            "targets=None, model_str_or_path='umxhq', device='cpu', pretrained=True"
        ),
        "load_separator": (
            "model_str_or_path='umxhq', targets=None, niter=1, residual=False, "
            "wiener_win_len=300, device='cpu', pretrained=True, filterbank='torch'"
        ),
        "preprocess": "audio, rate=None, model_rate=None",
        "save_checkpoint": "state, is_best, path, target",
    },
    "openunmix.model": {
        "OpenUnmix": (
            "nb_bins=4096, nb_channels=2, hidden_size=512, nb_layers=3, unidirectional=False, "
            "input_mean=None, input_scale=None, max_bin=None"
        ),
        "OpenUnmix.freeze": "self",
        "OpenUnmix.forward": "self, x",
        "Separator": (
            "target_models, niter=0, softmask=False, residual=False, sample_rate=44100.0, "
            "n_fft=4096, n_hop=1024, nb_channels=2, wiener_win_len=300, filterbank='torch'"
        ),
        "Separator.freeze": "self",
        "Separator.forward": "self, audio",
        "Separator.to_dict": "self, estimates, aggregate_dict=None",
    },
    "openunmix.transforms": {
        "make_filterbanks": (
            "n_fft=4096, n_hop=1024, center=False, sample_rate=44100.0, method='torch'"
        ),
        "AsteroidSTFT": "fb",
        "AsteroidISTFT": "fb",
        "TorchSTFT": "n_fft=4096, n_hop=1024, center=False, window=None",
        "TorchISTFT": "n_fft=4096, n_hop=1024, center=False, sample_rate=44100.0, window=None",
        "TorchISTFT.forward": "self, X, length=None",
        "ComplexNorm": "mono=False",
    },
    "openunmix.filtering": {
        "expectation_maximization": "y, x, iterations=2, eps=1e-10, batch_size=200",
        "wiener": (
            "targets_spectrograms, mix_stft, iterations=1, softmask=False, residual=False, "
            "scale_factor=10.0, eps=1e-10"
        ),
    },
    "openunmix.data": {
        "load_info": "path",
        "load_audio": "path, start=0.0, dur=None, info=None",
        "aug_from_str": "list_of_function_names",
        "Compose": "transforms",
        "_augment_gain": "audio, low=0.25, high=1.25",
        "_augment_channelswap": "audio",
        "_augment_force_stereo": "audio",
        "UnmixDataset": "root, sample_rate, seq_duration=None, source_augmentations=None",
        "UnmixDataset.extra_repr": "self",
        "load_datasets": "parser, args",
        "AlignedDataset": (
            "root, split='train', input_file='mixture.wav', output_file='vocals.wav', "
            "seq_duration=None, random_chunks=False, sample_rate=44100.0, "
            "source_augmentations=None, seed=42"
        ),
        # Defaults that were lists and functions are tuples and None.
        "SourceFolderDataset": (
            "root, split='train', target_dir='vocals', interferer_dirs=('bass', 'drums'), "
            "ext='.wav', nb_samples=1000, seq_duration=None, random_chunks=True, "
            "sample_rate=44100.0, source_augmentations=None, seed=42"
        ),
        "FixedSourcesTrackFolderDataset": (
            "root, split='train', target_file='vocals.wav', "
            "interferer_files=('bass.wav', 'drums.wav'), seq_duration=None, random_chunks=False, "
            "random_track_mix=False, source_augmentations=None, sample_rate=44100.0, seed=42"
        ),
        "VariableSourcesTrackFolderDataset": (
            "root, split='train', target_file='vocals.wav', ext='.wav', seq_duration=None, "
            "random_chunks=False, random_interferer_mix=False, sample_rate=44100.0, "
            "source_augmentations=None, silence_missing_targets=False"
        ),
        "MUSDBDataset": (
            "target='vocals', root=None, download=False, is_wav=False, subsets='train', "
            "split='train', seq_duration=6.0, samples_per_track=64, source_augmentations=None, "
            "random_track_mix=False, seed=42, *args, **kwargs"
        ),
    },
}
ALL = [(module, name, text) for module, names in SIGNATURES.items() for name, text in names.items()]


def described(function):
    """Return a signature without its annotations, as text."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
    ]
    # str() puts no spaces around "=" where there is no annotation.
    return ", ".join(map(str, parameters)), parameters


@pytest.mark.parametrize(("module", "name", "expected"), ALL, ids=lambda value: str(value)[:40])
def test_names_and_signatures_of_1_3_0_are_there(module, name, expected):
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    text, parameters = described(found)
    assert text.startswith(expected)
    added = parameters[len(expected.split(", ")) if expected else 0 :]
    assert all(parameter.default is not inspect.Parameter.empty for parameter in added)


def test_documented_spelling_of_predict_is_there():
    from openunmix import predict, separate

    assert separate.predict is predict.separate


def test_call_of_demucs_works():
    # Both Demucs packages import it like this when they are imported.
    from openunmix.filtering import wiener

    assert wiener is filtering.wiener


ROOT = Path(__file__).parent.parent
# An entry of the log or of the changes keeps the names of its day.
DOCUMENTS = sorted({ROOT / "README.md", *ROOT.glob("docs/*.md")} - {ROOT / "docs/log.md"})
DOCUMENTED = sorted(
    {
        path
        for document in DOCUMENTS
        for path in re.findall(r"\bopenunmix(?:\.[A-Za-z_]\w*)+", document.read_text("utf-8"))
    }
)


@pytest.mark.parametrize("path", DOCUMENTED)
def test_documented_path_is_there(path):
    pkgutil.resolve_name(path)


def test_documents_name_paths():
    assert len(DOCUMENTED) > 20


# What stands at the top of the package; a new idea belongs in one of the packages.
TOP = """
_files _pages _signals _version audio catalogue cli data errors evaluate filtering model predict
pretrained separate training transforms utils web
"""


def test_nothing_new_stands_at_the_top_of_the_package():
    found = {module.name for module in pkgutil.iter_modules(openunmix.__path__)}
    assert found == set(TOP.split())


MODULES = ["openunmix", *(m.name for m in pkgutil.walk_packages(openunmix.__path__, "openunmix."))]


# Modules that users read, beside the packages. Others are inner ones and list nothing.
FRONT_DOORS = ("openunmix.filtering.gaussian", "openunmix.transforms.fourier", "openunmix.utils")


@pytest.mark.parametrize("name", [name for name in MODULES if "__main__" not in name])
def test_what_is_public_is_listed_sorted_and_exists(name):
    module = importlib.import_module(name)
    assert module.__doc__
    if name == "openunmix._version":
        return
    listed = list(getattr(module, "__all__", []))
    assert listed == sorted(set(listed), key=sort_key)
    assert all(hasattr(module, name) for name in listed)
    if hasattr(module, "__path__") or name in FRONT_DOORS:
        assert listed or not [n for n, v in vars(module).items() if is_public_of(module, n, v)]


def is_public_of(module, name, value):
    """Tell whether a module defines this itself, without an underscore."""
    return getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")


def sort_key(name):
    """Sort as ruff does: constants, then classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)


def test_public_functions_and_classes_are_documented():
    for module in (openunmix, filtering, model, transforms, utils):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert inspect.getdoc(value), f"{module.__name__}.{name}"


@pytest.fixture(scope="module")
def fresh_import():
    """Import the package in a new process, and tell what that does."""
    script = """
import json, sys
import numpy, torch

def state():
    packages = {name.partition(".")[0] for name in list(sys.modules)}
    settings = [
        torch.initial_seed(), torch.get_num_threads(), str(torch.get_default_dtype()),
        torch.is_grad_enabled(),
    ]
    return sorted(packages - set(sys.stdlib_module_names)), settings

result = [state()]
import openunmix
result.append(state())
openunmix.utils.load_separator, openunmix.model.Separator, openunmix.__version__
openunmix.filtering.wiener, openunmix.transforms.TorchSTFT
import safetensors
result.append(state())
print(json.dumps(result))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_loads_nothing_but_torch_and_numpy(fresh_import):
    # 1.3.0 imported torchaudio, which does not load beside every torch, and Demucs fell with it.
    (before, _), (after, _), _ = fresh_import
    assert set(after) - set(before) == {"openunmix"}


def test_check_of_loaded_packages_can_fail(fresh_import):
    assert "safetensors" in fresh_import[2][0]


def test_import_leaves_the_settings_of_torch_alone(fresh_import):
    (_, before), (_, after), _ = fresh_import
    assert before == after


def test_no_module_imports_the_package_root():
    # In 1.3.0 utils imported the package, which imported utils.
    for name in MODULES[1:]:
        file = importlib.util.find_spec(name).origin
        for node in ast.walk(ast.parse(Path(file).read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert "openunmix" not in [alias.name for alias in node.names], name
            if isinstance(node, ast.ImportFrom) and node.module == "openunmix":
                submodules = [f"openunmix.{alias.name}" for alias in node.names]
                assert set(submodules) <= set(MODULES), name
