"""A network in a file of ONNX, as ``umx-models export`` writes it: magnitudes in, masks out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from openunmix_lite.errors import LiteError
from openunmix_lite.types import Real

#: The model of this package.
BUNDLED = Path(__file__).with_name("umxs.onnx")

States = Mapping[str, Real]

_ERRORS = (
    *(runtime.Fail, runtime.InvalidArgument, runtime.InvalidGraph, runtime.InvalidProtobuf),
    *(runtime.NotImplemented, runtime.RuntimeException, RuntimeError),
)
_NO_EXPORT = "is no export of Open-Unmix; write one with: umx-models export MODEL FILE.onnx"


class Model:
    """A network, and what its file says of it.

    ``threads`` are those of a matrix product; all cores by default.
    """

    def __init__(self, path: str | Path = BUNDLED, threads: int | None = None) -> None:
        self.path = Path(path)
        self.threads = threads or usable_cores()
        self._session = _open(self.path, self.threads)
        about = self._session.get_modelmeta().custom_metadata_map
        try:
            self.n_fft, self.n_hop = int(about["n_fft"]), int(about["n_hop"])
            self.channels, self.sample_rate = int(about["nb_channels"]), float(about["sample_rate"])
            self.is_causal = json.loads(about["causal"]) is True
            self.targets: list[str] = json.loads(about["targets"])
        except (KeyError, ValueError) as error:
            raise LiteError(f"{str(path)!r} {_NO_EXPORT}") from error
        self.licence = about.get("licence") or "not stated by its publishers"
        self.name = self.path.stem
        self._states = {
            value.name: tuple(value.shape)
            for value in self._session.get_overridable_initializers()
            if value.name.startswith("state_")
        }
        self._check()

    def _check(self) -> None:
        """Raise LiteError unless the file is what it says it is."""
        inputs = [(value.name, list(value.shape)[1:]) for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        targets = self.targets
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

        ``magnitude`` is (frames and lookahead, channels, bins). The states of the network after
        the frames are returned, for the next call.
        """
        given = {"magnitude": magnitude, "chunk": np.array([frames]), **(states or {})}
        try:
            masks, *after = self._session.run(None, given)
        except _ERRORS as error:
            raise LiteError(f"{str(self.path)!r} cannot be run: {_reason(error)}") from error
        return masks, dict(zip(self._states, after, strict=True))


def usable_cores() -> int:
    """Return the number of cores that this process may use; fewer if OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores or 1, int(limit) if limit.isdecimal() else 64))


def is_file_name(name: str) -> bool:
    """Whether every system accepts a name for a file, with room for an extension."""
    reserved = name.strip(".") == "" or not set(name).isdisjoint('/\\:*?"<>|')
    return not reserved and name.isprintable() and len(name.encode()) <= 200


def _open(path: Path, threads: int) -> Any:
    """Open a file of ONNX; it cannot refer to others, as onnxruntime gets its bytes."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LiteError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters is raised
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # it keeps what it once had
    # Threads that wait would take the cores of the filter.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise LiteError(f"{str(path)!r} {_NO_EXPORT}") from error


def _reason(error: Exception) -> str:
    """Last line of a message of onnxruntime, shortened."""
    lines = str(error).strip().splitlines()
    return lines[-1][-200:] if lines else type(error).__name__
