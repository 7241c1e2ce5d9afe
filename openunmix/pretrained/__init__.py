"""Models by name or folder: networks and separators.

A known name always selects the published model, any other name a folder; a folder that is named
like a model is given as ``./umxl``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from openunmix.errors import CheckpointError, UnreachableError
from openunmix.model import MaskNetwork, Separator
from openunmix.pretrained.download import fetch_model
from openunmix.pretrained.folder import (
    SeparatorConfig,
    config_of,
    find_weights,
    load_networks,
    verify_weights,
)
from openunmix.pretrained.registry import (
    BUNDLED_MODEL,
    DEFAULT_MODEL,
    MODELS,
    ModelEntry,
    bundled_folder,
    find_model,
)

__all__ = ["ResolvedModel", "load_separator", "load_target_models", "resolve_model"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvedModel:
    """A model whose files are on this machine, verified."""

    name: str  # the known name, or that of the folder or file
    files: Mapping[str, Path]  # by target, in the order of the estimates
    sha256: Mapping[str, str]  # hashes of the files, by target
    config: SeparatorConfig
    licence: str = ""  # terms of use, if known
    bundled: bool = False
    note: str = ""  # for users of the result: a replacement of the default model

    @property
    def targets(self) -> list[str]:
        """Names of the targets, in the order of the estimates."""
        return list(self.files)


def resolve_model(
    model: str | Path | None,
    targets: Sequence[str] | None = None,
    *,
    progress: bool = True,
) -> ResolvedModel:
    """Find a model, and download it if necessary.

    Parameters
    ----------
    model : str, Path or None
        A known name, or the path of a model folder or of a file of weights. None for the
        default model, in whose place the bundled one is used where it cannot be downloaded.
    targets : sequence of str, optional
        Some of its targets, in the order of the estimates; all if not given.
    progress : bool
        Show progress bars of downloads on stderr.

    Returns
    -------
    ResolvedModel
        The model's verified files and settings.

    Raises
    ------
    UnknownModelError
        If it is neither a known name nor a path that exists.
    UnreachableError, DownloadError
        If it cannot be downloaded.
    CheckpointError
        If the files are damaged or lack a target.
    ValueError
        If a known model lacks a target, or a bridged one is asked for only some.
    """
    if model is None:
        return _default_model(targets, progress)
    entry = _known(model)
    if entry is None:
        path = Path(model).expanduser()
        files = find_weights(path, _as_list(targets))
        config = config_of(files)
        if config.architecture.bridged and len(files) < len(find_weights(path)):
            raise ValueError(
                f"the networks of {model} are bridged and estimate together; ask for all of them, "
                "and keep the targets you want"
            )
        hashes = verify_weights(files, config)
        return ResolvedModel(path.resolve().name, files, hashes, config)
    chosen = _choose(entry, targets)
    if entry.bundled:
        files = find_weights(_installed(entry), chosen)
        config = config_of(files)
    else:
        files = fetch_model(entry, chosen, progress=progress)
        config = entry.config
    hashes = verify_weights(files, config)
    return ResolvedModel(entry.name, files, hashes, config, entry.licence, entry.bundled)


def _default_model(targets: Sequence[str] | None, progress: bool) -> ResolvedModel:
    """Return the default model, or the bundled one if there is no network."""
    try:
        return resolve_model(DEFAULT_MODEL, targets, progress=progress)
    except UnreachableError as error:
        logger.warning("%s", error)
        note = (
            f"{DEFAULT_MODEL} could not be downloaded; using the bundled model {BUNDLED_MODEL} "
            "instead (smaller)"
        )
        return replace(resolve_model(BUNDLED_MODEL, targets), note=note)


def _known(model: str | Path) -> ModelEntry | None:
    """Return the entry of a known name, None for a path that exists."""
    path = Path(model).expanduser()
    is_path = bool(str(model)) and path.exists()
    if is_path and (isinstance(model, Path) or model not in MODELS):
        return None
    return find_model(str(model))


def _as_list(targets: Sequence[str] | None) -> list[str] | None:
    """Return targets as a list; a single name is a list of one."""
    if targets is None:
        return None
    return [targets] if isinstance(targets, str) else list(targets)


def _choose(entry: ModelEntry, targets: Sequence[str] | None) -> list[str]:
    """Return the selected targets of a known model."""
    chosen = _as_list(targets) or entry.targets
    unknown = [target for target in chosen if target not in entry.files]
    if unknown:
        raise ValueError(
            f"model {entry.name!r} has no target {' or '.join(map(repr, unknown))}; it has "
            f"{', '.join(entry.targets)}"
        )
    return chosen


def _installed(entry: ModelEntry) -> Path:
    """Return the folder of a bundled model."""
    folder = bundled_folder(entry)
    if not folder.is_dir() or not any(folder.iterdir()):
        raise CheckpointError(
            f"the weights of {entry.name!r} are not in {folder}: this copy of Open-Unmix was made "
            f"without them. Install the released package, or use another model ({DEFAULT_MODEL})"
        )
    return folder


def _networks(
    model: str | Path | ResolvedModel, targets: Sequence[str] | None, pretrained: bool
) -> tuple[dict[str, MaskNetwork], SeparatorConfig]:
    """Load the networks of a model, or build them with random weights; and its settings."""
    entry = None if isinstance(model, ResolvedModel) else _known(model)
    if pretrained or entry is None or entry.bundled:
        found = model if isinstance(model, ResolvedModel) else resolve_model(model, targets)
        networks, config = load_networks(found.files, found.config), found.config
        if pretrained:
            return networks, config
        options = {target: network.architecture for target, network in networks.items()}
    else:
        config = entry.config
        options = dict.fromkeys(_choose(entry, targets), config.architecture)
    untrained = {
        target: architecture.build(config.stft, config.channels)
        for target, architecture in options.items()
    }
    return untrained, config


def load_target_models(
    targets: Sequence[str] | None = None,
    model_str_or_path: str | Path = DEFAULT_MODEL,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, MaskNetwork]:
    """Load the networks of a model.

    Parameters
    ----------
    targets, model_str_or_path, device, pretrained
        As for :func:`load_separator`.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target. Those with trained weights are in evaluation mode; all of them can
        be trained further.
    """
    with torch.device("cpu"):  # whatever torch's default is
        networks, _ = _networks(model_str_or_path, targets, pretrained)
    return {target: network.to(device) for target, network in networks.items()}


def load_separator(
    model_str_or_path: str | Path | ResolvedModel = DEFAULT_MODEL,
    targets: Sequence[str] | None = None,
    niter: int = 1,
    residual: bool = False,
    wiener_win_len: int | None = 300,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    filterbank: str = "torch",
) -> Separator:
    """Load a model as a separator.

    Parameters
    ----------
    model_str_or_path : str, Path or ResolvedModel
        A known name, downloaded if necessary, or the path of a model folder; or what
        :func:`resolve_model` returned.
    targets : list of str, optional
        The targets to estimate, in this order; all if not given. A resolved model has its own.
    niter : int
        Iterations of expectation maximization after the networks.
    residual : bool
        Add the residual, mixture minus all estimates, as a last target.
    wiener_win_len : int or None
        Frames of the windows that are filtered independently; None for all at once.
    device : str or torch.device
        Device of the networks.
    pretrained : bool
        Load the weights; otherwise they are random, and nothing is downloaded.
    filterbank : str
        ``"torch"``, or ``"asteroid"`` with the package ``asteroid-filterbanks``.

    Returns
    -------
    Separator
        The separator. With trained weights it is frozen: in evaluation mode, without gradients.
    """
    with torch.device("cpu"):  # whatever torch's default is
        networks, config = _networks(model_str_or_path, targets, pretrained)
        separator = Separator(
            target_models=networks,
            niter=niter,
            residual=residual,
            sample_rate=config.stft.sample_rate,
            n_fft=config.stft.n_fft,
            n_hop=config.stft.n_hop,
            nb_channels=config.channels,
            wiener_win_len=wiener_win_len,
            filterbank=filterbank,
            bridged=config.architecture.bridged,
        )
    if pretrained:
        separator.freeze()
    return separator.to(device)
