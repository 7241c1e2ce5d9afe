"""``separator.json``: common settings of the networks of a model folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from openunmix._files import replacing, sha256_of
from openunmix.errors import CheckpointError
from openunmix.model import NETWORKS, Architecture
from openunmix.transforms.fourier import STFTConfig

CONFIG_NAME = "separator.json"
#: The file of shared layers, see :func:`openunmix.model.share`.
SHARED_NAME = "shared.safetensors"


@dataclass(frozen=True)
class SeparatorConfig:
    """The content of ``separator.json``.

    The options of OpenUnmix, other than ``bridged`` and ``shared``, are for people: when networks
    are loaded, they follow from the shapes of their weights.
    """

    stft: STFTConfig = field(default_factory=STFTConfig)
    channels: int = 2
    architecture: Architecture = field(default_factory=Architecture)
    sha256: Mapping[str, str] = field(default_factory=dict)  # by file name
    extra: Mapping[str, Any] = field(default_factory=dict)  # unknown keys, kept


# 1.3.0's keys of the file, all required. Those of the architecture are the names of its fields.
_KEYS: Mapping[str, type] = {"nfft": int, "nhop": int, "sample_rate": float, "nb_channels": int}

# Of any number in the file; larger ones would overflow somewhere.
_LARGEST = 1e9


def read_config(folder: str | Path) -> SeparatorConfig | None:
    """Read ``separator.json``, None if there is none; CheckpointError for bad values."""
    path = Path(folder) / CONFIG_NAME
    if not path.exists():
        return None
    content = _read_json(path)
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; add what the model was made for")
    *stft, channels = (_checked(path, key, kind, content.pop(key)) for key, kind in _KEYS.items())
    architecture = _read_architecture(path, content)
    hashes = content.pop("sha256", {})
    if not isinstance(hashes, dict) or not all(isinstance(sha, str) for sha in hashes.values()):
        raise CheckpointError(f"{path}: 'sha256' is {hashes!r}, expected file names and hashes")
    try:
        return SeparatorConfig(STFTConfig(*stft), channels, architecture, hashes, content)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_architecture(path: Path, content: dict[str, Any]) -> Architecture:
    """Pop the options of the networks from the content of the file."""
    name = content.pop("architecture", Architecture.name)
    if not isinstance(name, str) or name not in NETWORKS:
        raise CheckpointError(
            f"{path}: 'architecture' is {name!r}, which is not among {', '.join(NETWORKS)}; import "
            "the code that adds it to openunmix.model.NETWORKS first"
        )
    options = NETWORKS[name].options
    values = {}
    for option in fields(options):
        if option.name in content:
            kind = float if option.default is None else type(option.default)
            value = content.pop(option.name)
            values[option.name] = _checked(path, option.name, kind, value, least=0)
    try:
        return options(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    """Read a file that must hold a JSON object, in UTF-8, UTF-16 or UTF-32."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected an object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these keys and values; ValueError if a key is there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"{next(name for name in names if names.count(name) > 1)!r} is there twice"
        )
    return content


def _checked(path: Path, key: str, kind: type, value: Any, least: float = 1e-9) -> Any:
    """Return a value of the file as its type, if it can be one."""
    if kind not in (int, float):
        if not isinstance(value, list if kind is tuple else kind):
            expected = "true or false" if kind is bool else kind.__name__
            raise CheckpointError(f"{path}: {key!r} is {value!r}, expected {expected}")
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= _LARGEST or kind(value) != value:
        expected = "whole number" if kind is int else "number"
        raise CheckpointError(f"{path}: {key!r} is {value!r:.60}, expected a positive {expected}")
    return kind(value)


def save_config(folder: str | Path, config: SeparatorConfig) -> Path:
    """Write ``separator.json`` with the hashes of the ``.safetensors`` files in the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))}
    return _write(folder, replace(config, sha256=hashes))


def changed_options(architecture: Architecture) -> dict[str, Any]:
    """Return the options of an architecture that differ from their defaults."""
    values = {option: getattr(architecture, option.name) for option in fields(architecture)}
    return {option.name: value for option, value in values.items() if value != option.default}


def forget_hash(folder: Path, name: str) -> None:
    """Remove the recorded hash of a file that is about to change."""
    config = read_config(folder)
    if config is not None and name in config.sha256:
        hashes = {other: sha for other, sha in config.sha256.items() if other != name}
        _write(folder, replace(config, sha256=hashes))


def _write(folder: Path, config: SeparatorConfig) -> Path:
    """Write the file with the hashes as given."""
    path = folder / CONFIG_NAME
    values = (config.stft.n_fft, config.stft.n_hop, config.stft.sample_rate, config.channels)
    content = {**dict(zip(_KEYS, values, strict=True)), **changed_options(config.architecture)}
    if config.architecture.name != Architecture.name:
        content["architecture"] = config.architecture.name
    with replacing(path) as temporary:
        text = json.dumps({**config.extra, **content, "sha256": config.sha256}, indent=2)
        temporary.write_text(text + "\n", "utf-8")
    return path
