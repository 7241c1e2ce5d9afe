"""The model folder: one file of weights per target, and their common settings.

::

    <folder>/separator.json           STFT, channels, architecture; SHA-256 of the weights
    <folder>/<target>.safetensors     the weights, or
    <folder>/<target>.pth             the weights as openunmix 1.3.0 writes them
    <folder>/shared.safetensors       the layers that all targets share, if they do
    <folder>/<target>.json            how they were trained; for people, never needed to load them
    <folder>/<target>.chkpnt          the state of an unfinished training

Nothing in these files is trusted. Weights are read without unpickling code, the architecture of
OpenUnmix is inferred from the shapes of the tensors, and every key and shape must then fit exactly.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from openunmix._files import replacing, sha256_of
from openunmix.errors import CheckpointError
from openunmix.model import MaskNetwork, OpenUnmix, share
from openunmix.pretrained._weights import MatrixType, load_network, write_network
from openunmix.pretrained.config import (
    CONFIG_NAME,
    SHARED_NAME,
    SeparatorConfig,
    changed_options,
    forget_hash,
    read_config,
    save_config,
)
from openunmix.pretrained.registry import MODELS
from openunmix.transforms.fourier import STFTConfig

__all__ = [
    "MatrixType",
    "ModelFolder",
    "SeparatorConfig",
    "config_of",
    "find_weights",
    "load_folder",
    "load_network",
    "load_networks",
    "read_config",
    "save_checkpoint",
    "save_config",
    "save_folder",
    "save_network",
    "verify_weights",
]

_log = logging.getLogger(__name__)

_SUFFIXES = (".safetensors", ".pth")
_HASH = r"[-_][0-9a-f]{8}"
_TARGET = re.compile(r"\w[\w -]*")
# Attributes of torch's modules, such as "keys" and "type"; no target can have these names.
_RESERVED = frozenset(dir(torch.nn.ModuleDict()))
# Options that <target>.json has in any case.
_OPTIONS = ("hidden_size", "nb_layers", "unidirectional")


class ModelFolder(NamedTuple):
    """A loaded model folder: networks in evaluation mode, settings, and the files they are from."""

    networks: dict[str, MaskNetwork]
    config: SeparatorConfig
    files: dict[str, Path]


def load_folder(path: str | Path, targets: Sequence[str] | None = None) -> ModelFolder:
    """Load a model folder or a file of weights: some targets, in this order, or all, by name."""
    files = find_weights(path, targets)
    config = config_of(files)
    verify_weights(files, config)
    return ModelFolder(load_networks(files, config), config, files)


def find_weights(path: str | Path, targets: Sequence[str] | None = None) -> dict[str, Path]:
    """Find the file of every target in a model folder, without reading it.

    A target's file is ``<target>.safetensors``, else ``<target>.pth``, else the only one whose
    name is the target and a hash (``vocals-b62c91ce.pth``), else the only one whose name starts
    with the target (``vocals_best.pth``). The target of a single file is its name up to the first
    hyphen. CheckpointError if a target is missing or ambiguous.
    """
    path = Path(path).expanduser()
    if path.is_file():
        found = {_target_of(path).split("-")[0]: path}
    elif path.is_dir():
        found = _scan(path, targets)
    else:
        raise CheckpointError(f"there is no folder or file {path}")
    missing = [target for target in targets or [] if target not in found]
    if missing or not found:
        wanted = " or ".join(map(repr, missing)) or "any target"
        there = ", ".join(sorted(set(map(_target_of, _weights_at(path))))) or "nothing"
        raise CheckpointError(
            f"{path} has no weights (.safetensors or .pth) of {wanted}; it has {there}"
        )
    for target, file in found.items():
        fault = _fault(target)
        if fault:
            raise CheckpointError(f"{file}: rename it, {fault}")
    return {target: found[target] for target in targets or found}


def _scan(folder: Path, targets: Sequence[str] | None) -> dict[str, Path]:
    """Return the files of the targets in a folder, or of all that it has."""
    files = _weights_at(folder)
    if targets is None:
        described = {file.stem for file in folder.glob("*.json")} - {Path(CONFIG_NAME).stem}
        targets = [*sorted(described), *sorted({_target_of(file) for file in files})]
    found: dict[str, Path] = {}
    for target in targets:
        file = _match(folder, files, target)
        if file is not None and file not in found.values():
            found[target] = file
    return found


def _weights_at(path: Path) -> list[Path]:
    """Return the files of weights in a folder, or the file itself, but not those that are shared.

    Hidden files are left out: a process that is killed while it writes leaves some.
    """
    files = path.iterdir() if path.is_dir() else [path]
    usable = (file for file in files if not file.name.startswith(".") and file.name != SHARED_NAME)
    return sorted(file for file in usable if file.suffix in _SUFFIXES and not file.is_dir())


def _target_of(file: Path) -> str:
    """Return the target of a file: its name without a hash."""
    return re.sub(f"{_HASH}$", "", file.stem)


def _match(folder: Path, files: Sequence[Path], target: str) -> Path | None:
    """Return the file of one target, by the rules of :func:`find_weights`."""
    exact = [file for suffix in _SUFFIXES for file in files if file.name == f"{target}{suffix}"]
    if exact:
        return exact[0]
    name = re.escape(target)
    hashed = [file for file in files if re.fullmatch(f"{name}{_HASH}", file.stem)]
    longer = [file for file in files if re.match(f"{name}[^A-Za-z0-9]", file.stem)]
    candidates = hashed or longer
    if len(candidates) > 1:
        raise CheckpointError(
            f"{folder} has several files for {target!r}: {', '.join(f.name for f in candidates)}; "
            f"rename the right one to {target}{candidates[0].suffix}"
        )
    return candidates[0] if candidates else None


def config_of(files: Mapping[str, Path]) -> SeparatorConfig:
    """Return the settings of networks, given the files of all targets in one folder.

    Without ``separator.json`` they are those of the published model that a file is named after,
    else those that follow from the shapes of the weights. A warning names what is assumed then.
    """
    first = next(iter(files.values()))
    config = read_config(first.parent)
    if config is not None:
        return config
    for entry in MODELS.values():
        if entry.url and first.name in {file.name for file in entry.files.values()}:
            return entry.config
    network = load_network(first)
    n_fft = 2 * (network.nb_output_bins - 1)
    config = SeparatorConfig(STFTConfig(n_fft, max(n_fft // 4, 1)), network.nb_channels)
    _log.warning(
        "%s has no %s: a sample rate of %g Hz and a hop of %d samples are assumed, which is wrong "
        "for some models (speech enhancement at 16 kHz among them)",
        first.parent,
        CONFIG_NAME,
        config.stft.sample_rate,
        config.stft.n_hop,
    )
    return config


def verify_weights(files: Mapping[str, Path], config: SeparatorConfig) -> dict[str, str]:
    """Return the SHA-256 of every file; CheckpointError if it is not the one on record."""
    if config.architecture.shared:
        _verified(_shared_file(files), config)
    return {target: _verified(file, config) for target, file in files.items()}


def _verified(file: Path, config: SeparatorConfig) -> str:
    """Return the SHA-256 of a file; raise if it is not the one on record."""
    found = sha256_of(file)
    expected = config.sha256.get(file.name, found)
    if found != expected.lower():
        raise CheckpointError(
            f"{file} is damaged or was exchanged: its SHA-256 is {found}, but {CONFIG_NAME} says "
            f"{expected}. Get the folder again, or remove the hash from {CONFIG_NAME} if you "
            "changed the file yourself"
        )
    return found


def _shared_file(files: Mapping[str, Path]) -> Path:
    """Return the file of shared layers, which is beside the others."""
    file = next(iter(files.values())).with_name(SHARED_NAME)
    if not file.is_file():
        raise CheckpointError(
            f"{file} is missing, and {CONFIG_NAME} says that the networks share layers; get the "
            "folder again"
        )
    return file


def load_networks(files: Mapping[str, Path], config: SeparatorConfig) -> dict[str, MaskNetwork]:
    """Load the networks of several targets, with shared layers in common."""
    shared = _shared_file(files) if config.architecture.shared else None
    networks = {target: load_network(file, config, shared) for target, file in files.items()}
    if config.architecture.shared:
        share(networks.values())
    return networks


def save_folder(
    folder: str | Path,
    networks: Mapping[str, MaskNetwork],
    config: SeparatorConfig,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    dtype: MatrixType = None,
) -> None:
    """Write a model folder, which :func:`load_folder` reads; see :func:`save_network`."""
    folder = Path(folder)
    shared = config.architecture.shared
    if shared and len({network.trunk for network in networks.values()}) > 1:
        raise ValueError(f"{', '.join(networks)} share no layers: use openunmix.model.share")
    for target, network in networks.items():
        save_network(folder, target, network, (metadata or {}).get(target), dtype, shared)
    first = next(iter(networks.values()))
    if shared:
        state = first.state_dict()
        common = {key: value for key, value in state.items() if is_shared(key, first)}
        forget_hash(folder, SHARED_NAME)
        write_network(folder / SHARED_NAME, common, dtype)
    # Networks know more of their options than settings that were read from a file of 1.3.0.
    options, given = first.architecture, config.architecture
    if type(options) is type(given):
        bandwidth = given.bandwidth or options.bandwidth
        options = replace(options, bandwidth=bandwidth, bridged=given.bridged, shared=shared)
    save_config(folder, replace(config, architecture=options))


def is_shared(key: str, network: MaskNetwork) -> bool:
    """Whether a weight is of the trunk, which shared networks have in common."""
    return key.partition(".")[0] in network.trunk_layers


def save_network(
    folder: str | Path,
    target: str,
    network: MaskNetwork,
    metadata: Mapping[str, Any] | None = None,
    dtype: MatrixType = None,
    shared: bool = False,
) -> Path:
    """Write ``<target>.safetensors``, whose path is returned, and ``<target>.json``.

    The JSON file holds the metadata, with the architecture added under ``args``. ``dtype`` is that
    of the matrices in the file, a type of torch or ``"int4"``. Vectors, a thousandth of the values,
    keep theirs, as some are too large for float16; with ``"int4"`` the others are float16. With
    ``shared``, shared layers are left out. The recorded hash of the file is removed;
    :func:`save_config` records the new one.
    """
    folder = Path(folder)
    _check_target(target)
    metadata = dict(metadata or {})
    metadata["args"] = {**metadata.get("args", {}), **_arguments(network)}
    description = json.dumps(metadata, indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}.safetensors"
    forget_hash(folder, path.name)
    state = network.state_dict()
    kept = {key: value for key, value in state.items() if not (shared and is_shared(key, network))}
    write_network(path, kept, dtype)
    with replacing(folder / f"{target}.json") as temporary:
        temporary.write_text(description, "utf-8")
    return path


def _check_target(target: str) -> None:
    """Raise unless a target can be a file name and the name of a module."""
    fault = _fault(target)
    if fault:
        raise ValueError(f"choose another target: {fault}")


def _fault(target: str) -> str | None:
    """Return why a name cannot be that of a target, None if it can."""
    if not _TARGET.fullmatch(target):
        return f"{target!r} is not of letters, digits, '_', '-' and spaces only"
    if f"{target}.safetensors" == SHARED_NAME:
        return f"{target!r} is the name of shared layers"
    return f"{target!r} is a name that torch uses itself" if target in _RESERVED else None


def _arguments(network: MaskNetwork) -> dict[str, Any]:
    """Return the architecture of a network with the keys of 1.3.0, and ours."""
    options = {name: getattr(network.architecture, name) for name in _OPTIONS}
    options |= changed_options(network.architecture)
    for name in ("bandwidth", "bridged", "shared"):  # in separator.json
        options.pop(name, None)
    shapes = {"nfft": 2 * (network.nb_output_bins - 1), "nb_channels": network.nb_channels}
    if isinstance(network, OpenUnmix):
        shapes["max_bin"] = network.nb_bins
    return {**shapes, **options}


def save_checkpoint(state: Mapping[str, Any], is_best: bool, path: str | Path, target: str) -> None:
    """Write the state of a training as ``<target>.chkpnt``, and if best ``<target>.pth``.

    Parameters
    ----------
    state : mapping
        The state; its ``"state_dict"`` is the content of ``<target>.pth``.
    is_best : bool
        Whether these weights are the best so far.
    path : str or Path
        An existing folder.
    target : str
        The target.
    """
    folder = Path(path)
    _check_target(target)
    with replacing(folder / f"{target}.chkpnt") as temporary:
        torch.save(dict(state), temporary)
    if is_best:
        with replacing(folder / f"{target}.pth") as temporary:
            torch.save(state["state_dict"], temporary)
