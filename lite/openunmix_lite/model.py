"""A network in a file of ONNX, as ``umx-models export`` writes it: magnitudes in, masks out."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from openunmix_lite.errors import LiteError
from openunmix_lite.fourier import Real

#: The model of this package.
BUNDLED = Path(__file__).with_name("umxs.onnx")

#: States of a network after some frames, for each group of channels that it computes together.
States = list[dict[str, Real]]

_ERRORS = (
    *(runtime.Fail, runtime.InvalidArgument, runtime.InvalidGraph, runtime.InvalidProtobuf),
    *(runtime.NotImplemented, runtime.RuntimeException, RuntimeError),
)
_NO_EXPORT = "is no export of Open-Unmix; write one with: umx-models export MODEL FILE.onnx"


class Model:
    """A network, and what its file says of it.

    ``threads`` are all cores by default, and ``targets`` all that the network has.
    """

    def __init__(
        self,
        path: str | Path = BUNDLED,
        threads: int | None = None,
        targets: Sequence[str] | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"there must be 1 thread or more, not {threads}")
        self.path, self.threads = Path(path), threads or usable_cores()
        self.name = self.path.stem
        self._session = _open(self.path, self.threads)
        about = self._session.get_modelmeta().custom_metadata_map
        try:
            self.n_fft, self.n_hop = int(about["n_fft"]), int(about["n_hop"])
            self.channels, self.sample_rate = int(about["nb_channels"]), float(about["sample_rate"])
            self.is_causal = json.loads(about["causal"]) is True
            available: list[str] = json.loads(about["targets"])
        except (KeyError, ValueError) as error:
            raise LiteError(f"{str(path)!r} {_NO_EXPORT}") from error
        defaults = [value.name for value in self._session.get_overridable_initializers()]
        self._states = [name for name in defaults if name.startswith("state_")]
        self._check(available)
        if not set(targets or available) <= set(available):
            raise ValueError(f"{self.name} has the targets {', '.join(available)}; choose of them")
        self.targets = [target for target in available if target in (targets or available)]
        self._rows = [available.index(target) for target in self.targets]

    def _check(self, targets: object) -> None:
        """Raise LiteError unless the file is what it says it is."""
        inputs = [(value.name, list(value.shape)[1:]) for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        is_export = (
            isinstance(targets, list)
            and all(isinstance(target, str) and is_file_name(target) for target in targets)
            and 0 < len(set(targets)) == len(targets)
            and 0 < self.n_hop <= self.n_fft
            and self.n_fft % 2 == 0
            and 1 <= self.sample_rate <= 1e6
            and inputs == [("magnitude", [self.channels, self.n_fft // 2 + 1])]
            and outputs == ["masks", *(f"next_{name}" for name in self._states)]
        )
        if not is_export:
            raise LiteError(f"{str(self.path)!r} {_NO_EXPORT}")
        if self.channels > 2:
            raise LiteError(
                f"{str(self.path)!r} has networks of {self.channels} channels, and this package "
                "filters one or two; use umx"
            )

    def masks(
        self, magnitude: Real, frames: int, states: States | None = None
    ) -> tuple[Real, States]:
        """Masks (targets, frames, channels, bins) of the first frames of a magnitude.

        ``magnitude`` is (frames and lookahead, channels, bins); a mono network computes its
        channels one by one. The states after the frames are returned, for the next call.
        """
        groups = np.split(magnitude, magnitude.shape[1] // self.channels, axis=1)
        masks, later = [], []
        for group, state in zip(groups, states or [{}] * len(groups), strict=True):
            given = {"magnitude": group, "chunk": np.array([frames]), **state}
            try:
                found, *after = self._session.run(None, given)
            except _ERRORS as error:
                raise LiteError(f"{str(self.path)!r} cannot be run: {str(error)[-200:]}") from error
            masks.append(found if len(self._rows) == len(found) else found[self._rows])
            later.append(dict(zip(self._states, after, strict=True)))
        return masks[0] if len(masks) == 1 else np.concatenate(masks, axis=2), later


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_file_name(name: str) -> bool:
    """Whether every system accepts a name for a file, with room for an extension."""
    reserved = name.strip(".") == "" or not set(name).isdisjoint('/\\:*?"<>|')
    return not reserved and name.isprintable() and len(name.encode()) <= 200


def _open(path: Path, threads: int) -> Any:
    """Open a file of ONNX; it cannot refer to others, as onnxruntime gets its bytes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters is raised
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # it keeps what it once had
    # Threads that wait would take the cores of the filter.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        content = path.read_bytes()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise LiteError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except _ERRORS as error:
        raise LiteError(f"{str(path)!r} {_NO_EXPORT}") from error
