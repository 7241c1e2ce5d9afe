"""The state of a run in one file: tensors as safetensors, and all else as JSON in its header.

One file is replaced as a whole, so there is a state to resume from at any time. Reading it never
runs code.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from openunmix._files import replacing
from openunmix._version import __version__
from openunmix.errors import CheckpointError
from openunmix.pretrained.folder import (
    MatrixType,
    SeparatorConfig,
    save_checkpoint,
    save_folder,
)
from openunmix.training.config import TrainingConfig
from openunmix.training.trainer import Trainer

logger = logging.getLogger(__name__)

_TENSOR = "tensor:"


def save_model(
    folder: Path,
    trainer: Trainer,
    metadata: Mapping[str, Any] | None = None,
    dtype: MatrixType = None,
) -> None:
    """Write the averaged networks of a run as a model folder, its matrices as ``dtype``.

    The metadata is added to ``<target>.json``, the options of the run under ``args``.
    """
    networks, run = trainer.ema_networks(), trainer.config
    details = {"version": __version__, "step": trainer.step, "config": run.to_json()}
    details |= metadata or {}
    config = SeparatorConfig(run.stft, run.nb_channels, run.architecture)
    save_folder(folder, networks, config, dict.fromkeys(networks, details), dtype)


def save_legacy_files(
    folder: Path, trainer: Trainer, epoch: int, best_loss: float | None, is_best: bool
) -> None:
    """Write ``<target>.chkpnt``, and if best ``<target>.pth``, as openunmix 1.3.0 does."""
    for target, network in trainer.ema_networks().items():
        state = {
            "epoch": epoch,
            "state_dict": network.state_dict(),
            "best_loss": best_loss,
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.schedule.state_dict(),
        }
        save_checkpoint(state, is_best, folder, target)


def state_file(folder: Path) -> Path:
    """File of the state of a run, in a folder of its own: weights beside networks are a target."""
    return folder / "checkpoint" / "training.safetensors"


def prepare_output(output: Path, checkpoint: Path | None) -> None:
    """Copy the state of another run to the output; CheckpointError if it holds something else."""
    if state_file(output).is_file():
        return
    weights = sorted([*output.glob("*.safetensors"), *output.glob("*.pth")])
    if weights:
        raise CheckpointError(
            f"{output} has a model ({weights[0].name}), but no checkpoint to resume; choose "
            f"another --output, and to fine-tune that model, --model {output}"
        )
    if checkpoint is not None:
        if not state_file(checkpoint).is_file():
            raise CheckpointError(
                f"{checkpoint} has no checkpoint of a run; to fine-tune a model, give it as --model"
            )
        state_file(output).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(state_file(checkpoint), state_file(output))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state, as a whole or not at all: nested dictionaries (keys are strings) and lists."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    text = json.dumps(_split(state, "", tensors))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, {"state": text}))


def load_state(path: Path) -> dict[str, Any]:
    """Read a state, which runs no code; CheckpointError if the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = json.loads(file.metadata()["state"])
        state: dict[str, Any] = _joined(content, tensors)
        return state
    except (SafetensorError, RuntimeError, ValueError, EOFError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged; remove it to start again") from error


def check_resumed(path: Path, before: Mapping[str, Any], config: TrainingConfig) -> None:
    """Compare the settings of a state with those of now; CheckpointError for other networks.

    Other changes are only warned of.
    """
    changes = list(_changes(before, config.to_json()))
    others = ", ".join(f"{change.name}={change.before}" for change in changes if change.is_fatal)
    if others:
        raise CheckpointError(
            f"{path} is of a run with {others}; use the same, or another --output"
        )
    for name, old, now, _ in changes:
        logger.warning("%s is %s now, and was %s until this step", name, now, old)


class _Change(NamedTuple):
    """A setting that has changed; a fatal one is of the networks' weights or of their input."""

    name: str
    before: Any
    now: Any
    is_fatal: bool


def _changes(
    before: Mapping[str, Any], now: Mapping[str, Any], part: str = ""
) -> Iterator[_Change]:
    """Yield the settings that differ, nested ones one by one."""
    for name, old in before.items():
        new = now.get(name, old)
        if not part and isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, name)
        elif old != new:
            is_network = part in ("architecture", "stft") or name in ("targets", "nb_channels")
            yield _Change(name, old, new, is_network and name != "dropout")


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
