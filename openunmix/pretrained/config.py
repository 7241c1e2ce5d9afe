"""``separator.json``: what the networks of a model folder have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openunmix._files import replacing, sha256_of
from openunmix.errors import CheckpointError

__all__ = [
    "CONFIG_NAME",
    "SHARED_NAME",
    "SeparatorConfig",
    "forget_hash",
    "read_config",
    "save_config",
]

CONFIG_NAME = "separator.json"
#: The file of what shared networks have in common, see :func:`openunmix.model.share`.
SHARED_NAME = "shared.safetensors"


@dataclass(frozen=True)
class SeparatorConfig:
    """What the networks of a folder have in common; the content of ``separator.json``.

    Parameters
    ----------
    n_fft, n_hop : int
        Window and hop length of the STFT in samples.
    sample_rate : float
        Sample rate in Hz.
    channels : int
        Audio channels.
    nb_layers : int
        Number of stacked LSTM layers.
    unidirectional : bool
        Whether the networks look only at the past.
    bandwidth : float, optional
        Highest frequency that the networks see, in Hz.
    bridged : bool
        Whether the networks share codes and contexts, see :func:`openunmix.model.masks`.
    shared : bool
        Whether the networks share layers, see :func:`openunmix.model.share`.
    sha256 : mapping of str to str
        The hash of every file of weights that has one on record.
    extra : mapping
        Keys of the file that are not ours, kept.
    """

    n_fft: int = 4096
    n_hop: int = 1024
    sample_rate: float = 44100.0
    channels: int = 2
    nb_layers: int = 3
    unidirectional: bool = False
    bandwidth: float | None = None
    bridged: bool = False
    shared: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


# The keys of the file, which are 1.3.0's and five of ours, with their fields and types.
_KEYS: Mapping[str, tuple[str, type]] = {
    "nfft": ("n_fft", int),
    "nhop": ("n_hop", int),
    "sample_rate": ("sample_rate", float),
    "nb_channels": ("channels", int),
    "nb_layers": ("nb_layers", int),
    "unidirectional": ("unidirectional", bool),
    "bandwidth": ("bandwidth", float),
    "bridged": ("bridged", bool),
    "shared": ("shared", bool),
}
_REQUIRED = ("nfft", "nhop", "sample_rate", "nb_channels")


def read_config(folder: str | Path) -> SeparatorConfig | None:
    """Read ``separator.json``.

    Parameters
    ----------
    folder : str or Path
        The model folder.

    Returns
    -------
    SeparatorConfig or None
        Its content, None if the folder has no such file.

    Raises
    ------
    CheckpointError
        If it is not a JSON object, or a value is missing or out of range.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        return None
    content = _read_json(path)
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; add what the model was made for")
    fields = {
        name: _checked(path, key, kind, content.pop(key))
        for key, (name, kind) in _KEYS.items()
        if key in content
    }
    hashes = content.pop("sha256", {})
    if not isinstance(hashes, dict) or not all(isinstance(sha, str) for sha in hashes.values()):
        raise CheckpointError(f"{path}: 'sha256' is {hashes!r}, expected file names and hashes")
    return SeparatorConfig(**fields, sha256=hashes, extra=content)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a file that must hold a JSON object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected an object")
    return content


def _checked(path: Path, key: str, kind: type, value: Any) -> Any:
    """Return a value of the file as its type, if it can be one."""
    if kind is bool:
        if not isinstance(value, bool):
            raise CheckpointError(f"{path}: {key!r} is {value!r}, expected true or false")
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf or kind(value) != value:
        expected = "whole number" if kind is int else "number"
        raise CheckpointError(f"{path}: {key!r} is {value!r}, expected a positive {expected}")
    return kind(value)


def save_config(folder: str | Path, config: SeparatorConfig) -> Path:
    """Write ``separator.json`` with the hashes of the ``.safetensors`` files that are there.

    Parameters
    ----------
    folder : str or Path
        The model folder, made if it does not exist.
    config : SeparatorConfig
        What to write. Its hashes are replaced.

    Returns
    -------
    Path
        The file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))}
    return _write(folder, replace(config, sha256=hashes))


def forget_hash(folder: Path, name: str) -> None:
    """Remove the hash of a file that is about to change, if there is one on record.

    Parameters
    ----------
    folder : Path
        The model folder.
    name : str
        Name of the file.
    """
    config = read_config(folder)
    if config is not None and name in config.sha256:
        hashes = {other: sha for other, sha in config.sha256.items() if other != name}
        _write(folder, replace(config, sha256=hashes))


def _write(folder: Path, config: SeparatorConfig) -> Path:
    """Write the file with the hashes as given."""
    path = folder / CONFIG_NAME
    values = {key: getattr(config, name) for key, (name, _) in _KEYS.items()}
    for rare in ("bridged", "shared"):
        values[rare] = values[rare] or None
    content = {key: value for key, value in values.items() if value is not None}
    with replacing(path) as temporary:
        text = json.dumps({**config.extra, **content, "sha256": config.sha256}, indent=2)
        temporary.write_text(text + "\n", "utf-8")
    return path
