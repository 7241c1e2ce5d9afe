"""The state of a run in one file: tensors as safetensors, and all else as JSON in its header.

One file is replaced as a whole, so there is a state to resume from at any time. Reading it never
runs code.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openunmix._files import replacing
from openunmix._version import __version__
from openunmix.errors import CheckpointError
from openunmix.pretrained.folder import SeparatorConfig, save_checkpoint, save_folder
from openunmix.training.config import TrainingConfig
from openunmix.training.networks import architecture_of
from openunmix.training.trainer import Trainer
from openunmix.transforms.fourier import STFTConfig

__all__ = [
    "find_state",
    "load_state",
    "save_legacy_files",
    "save_model",
    "save_state",
    "separator_config",
    "state_file",
]


def separator_config(config: TrainingConfig) -> SeparatorConfig:
    """Return what the networks of a run have in common.

    Parameters
    ----------
    config : TrainingConfig
        The settings of the run.

    Returns
    -------
    SeparatorConfig
        The content of ``separator.json``.
    """
    stft = STFTConfig(config.n_fft, config.n_hop, float(config.sample_rate))
    return SeparatorConfig(stft, config.nb_channels, architecture_of(config))


def save_model(
    folder: Path,
    trainer: Trainer,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write the averaged networks of a run as a model folder.

    Parameters
    ----------
    folder : Path
        The folder, made if it does not exist.
    trainer : Trainer
        The run.
    metadata : mapping, optional
        What else to write to ``<target>.json``; under ``args``, the options of the run.
    dtype : torch.dtype, optional
        Type of the matrices in the files; ``torch.float16`` halves their size.
    """
    details = {
        "version": __version__,
        "step": trainer.step,
        "config": trainer.config.to_json(),
        **(metadata or {}),
    }
    networks = trainer.ema_networks()
    config = separator_config(trainer.config)
    save_folder(folder, networks, config, dict.fromkeys(networks, details), dtype)


def save_legacy_files(
    folder: Path, trainer: Trainer, epoch: int, best_loss: float | None, is_best: bool
) -> None:
    """Write ``<target>.chkpnt``, and if best ``<target>.pth``, as openunmix 1.3.0 does.

    Parameters
    ----------
    folder : Path
        An existing folder.
    trainer : Trainer
        The run.
    epoch : int
        Epochs done.
    best_loss : float, optional
        The lowest validation loss so far.
    is_best : bool
        Whether it is that of these weights.
    """
    for target, network in trainer.ema_networks().items():
        state = {
            "epoch": epoch,
            "state_dict": network.state_dict(),
            "best_loss": best_loss,
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.schedule.state_dict(),
        }
        save_checkpoint(state, is_best, folder, target)


_TENSOR = "tensor:"


def state_file(folder: Path) -> Path:
    """Return where the state of a run is, in the folder of the run.

    Parameters
    ----------
    folder : Path
        The folder of the run.

    Returns
    -------
    Path
        The file. It is in a folder of its own, as weights beside the networks are a target.
    """
    return folder / "checkpoint" / "training.safetensors"


def find_state(folder: Path) -> Path | None:
    """Find a state to resume from.

    Parameters
    ----------
    folder : Path
        The folder of a run.

    Returns
    -------
    Path or None
        The file, or that of a version before 2.0, or None.
    """
    found = [path for path in (state_file(folder), folder / "training.chkpnt") if path.is_file()]
    return found[0] if found else None


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state, as a whole or not at all.

    Parameters
    ----------
    path : Path
        The file; its folder is made if need be.
    state : dict
        Nested dictionaries and lists of tensors and plain values; all keys are strings.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    text = json.dumps(_split(state, "", tensors))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, {"state": text}))


def load_state(path: Path) -> dict[str, Any]:
    """Read a state; tensors and plain values only, never code.

    Parameters
    ----------
    path : Path
        What :func:`save_state` wrote, or a ``training.chkpnt`` of before.

    Returns
    -------
    dict
        The state.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".chkpnt":
            return _before(torch.load(path, map_location="cpu", weights_only=True))
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = json.loads(file.metadata()["state"])
        state: dict[str, Any] = _joined(content, tensors)
        return state
    except (
        pickle.UnpicklingError,
        SafetensorError,
        RuntimeError,
        ValueError,
        EOFError,
        LookupError,
        TypeError,
    ) as error:
        raise CheckpointError(f"{path} is damaged; remove it to train anew") from error


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Put the tensors of a nested value into a dictionary, and their names in their places."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return f"{_TENSOR}{name}"
    if isinstance(value, dict):
        return {key: _split(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(part, f"{name}/{place}", tensors) for place, part in enumerate(value)]
    return value


def _joined(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo :func:`_split`."""
    if isinstance(value, str) and value.startswith(_TENSOR):
        return tensors[value.removeprefix(_TENSOR)]
    if isinstance(value, dict):
        return {key: _joined(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [_joined(part, tensors) for part in value]
    return value


def _before(state: dict[str, Any]) -> dict[str, Any]:
    """Bring the state of a version before 2.0 to today's form."""
    config = dict(state["config"])
    config["precision"] = "bf16" if config.pop("bfloat16") else "float32"
    return {**state, "config": config}
