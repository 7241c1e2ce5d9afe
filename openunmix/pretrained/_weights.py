"""One network in one file: read without running code, written as safetensors."""

from __future__ import annotations

import json
import math
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from openunmix._files import replacing
from openunmix.errors import CheckpointError
from openunmix.model import Architecture, MaskNetwork
from openunmix.pretrained._int4 import keys_of, pack, unpack_state
from openunmix.pretrained.config import CONFIG_NAME, SeparatorConfig
from openunmix.transforms.fourier import STFTConfig, bandwidth_to_max_bin

#: How matrices are stored: a type of torch, or ``"int4"``, four bits a value; None is unchanged.
MatrixType: TypeAlias = torch.dtype | Literal["int4"] | None

_LAYER = re.compile(r"lstm\.weight_ih_l\d+")

_DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "U8": torch.uint8,
}

# Prefixes of keys that early versions of openunmix saved beside the weights: STFT and sample rate.
_LEGACY_KEYS = ("sample_rate", "stft.", "spec.", "transform.")

# What readers of pickles and archives raise for other files.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
    struct.error,
)


def load_network(
    path: str | Path, config: SeparatorConfig | None = None, shared: Path | None = None
) -> MaskNetwork:
    """Load the network of one target: float32, on the CPU, in evaluation mode, trainable.

    The file is ``.safetensors`` or a state dict by ``torch.save``, possibly within a training state
    (``.chkpnt``). Without the settings of its folder, they are inferred from shapes. ``shared`` is
    the file of shared layers. CheckpointError if a file is damaged or incomplete, or holds code.
    """
    path = Path(path)
    state = _read_state(path)
    if shared is not None:
        state = {**_read_state(shared), **state}
    network = _build(state, path, config)
    expected = network.state_dict()
    for key in expected:
        if key.endswith("num_batches_tracked"):  # early versions of torch did not save it
            state.setdefault(key, torch.tensor(0))
    for key in sorted(expected.keys() | state.keys()):
        wanted = tuple(expected[key].shape) if key in expected else None
        found = tuple(state[key].shape) if key in state else None
        if wanted != found:
            raise CheckpointError(
                f"{path} is not a network of Open-Unmix: {key!r} has shape {found or 'none'}, "
                f"expected {'no such key' if wanted is None else wanted}"
            )
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict of any version without running code, with the current keys and types."""
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected named tensors")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: {key!r} is {type(value).__name__}, expected a tensor with a name"
            )
    return _unpacked(_migrate(content, path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of safetensors.

    The format is the length of a JSON header, the header, and the bytes of all tensors. Reading it
    here allows ``torch.hub`` to use the bundled model where only torch is installed.
    """
    try:
        content = bytearray(path.read_bytes())
        begin = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:begin])
        header.pop("__metadata__", None)
        return {key: _view(content, begin, **entry) for key, entry in header.items()}
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged or not safetensors: {error}") from error


def _view(
    content: bytearray, begin: int, dtype: str, shape: list[int], data_offsets: list[int]
) -> Tensor:
    """Return the tensor of an entry of a safetensors header."""
    start, stop = data_offsets
    if not 0 <= start < stop <= len(content) - begin:
        raise ValueError(f"bytes {start} to {stop} are not in the file")
    data = content[begin + start : begin + stop]
    return torch.frombuffer(data, dtype=_DTYPES[dtype]).reshape(shape)


def _read_pickle(path: Path) -> object:
    """Read a file by ``torch.save`` of tensors and plain containers only."""
    try:
        with warnings.catch_warnings():  # of pickle protocols
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's message suggests weights_only=False
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds objects that could run code besides "
            "weights. Get it again, or have its author save the state_dict alone"
        ) from error
    except _UNREADABLE as error:
        reason = str(error).split(". ")[0] or type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a file of weights: {reason}") from error


def _migrate(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Convert a state dict of any version to the current keys and types, and check its values."""
    state = {key: value for key, value in state.items() if not key.startswith(_LEGACY_KEYS)}
    if "input_power" in state:  # its name in the files of umxses
        state["compression"] = state.pop("input_power")
    held = sum(value.numel() * value.element_size() for value in state.values())
    if held > path.stat().st_size:  # strides of 0 declare a huge tensor with few values
        raise CheckpointError(f"{path} is damaged: it declares more values than it holds")
    for key, value in state.items():
        is_count = key.endswith("num_batches_tracked")
        is_number = value.is_floating_point() or is_count or value.dtype == torch.uint8
        is_dense = value.layout == torch.strided and not value.is_nested and not value.is_meta
        if not is_number or not is_dense:
            kind = f"{value.dtype}" if is_dense else f"{value.dtype}, but not dense"
            raise CheckpointError(f"{path}: {key!r} is of {kind}, expected floating point")
        if not value.float().isfinite().all():
            raise CheckpointError(f"{path}: {key!r} has values that are not finite numbers")
        if key.endswith("running_var") and (value < 0).any():
            raise CheckpointError(f"{path}: {key!r} has negative values, expected variances")
    return {
        key: value.long()
        if key.endswith("num_batches_tracked")
        else (value if value.dtype == torch.uint8 else value.float()).contiguous()
        for key, value in state.items()
    }


def _unpacked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return a state dict with its matrices of four bits a value in float32."""
    try:
        arrays = unpack_state({key: value.detach().numpy() for key, value in state.items()})
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def _build(state: Mapping[str, Tensor], path: Path, config: SeparatorConfig | None) -> MaskNetwork:
    """Build a network for these weights."""
    try:
        if config is not None and config.architecture.name != Architecture.name:
            with torch.random.fork_rng(devices=[]):
                return config.architecture.build(config.stft, config.channels)
        config = _inferred(state, path, config)
        with torch.device("meta"):  # shapes only: nothing is allocated for files that do not fit
            return config.architecture.build(config.stft, config.channels)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path} is not a network of Open-Unmix: {error}") from error


def _inferred(
    state: Mapping[str, Tensor], path: Path, config: SeparatorConfig | None
) -> SeparatorConfig:
    """Infer the settings of an OpenUnmix from the shapes of its weights."""
    for key, ndim in {"fc1.weight": 2, "input_mean": 1, "output_mean": 1}.items():
        if key not in state or state[key].ndim != ndim or state[key].numel() == 0:
            raise ValueError(f"{key!r} is missing or not of {ndim} axes")
    hidden_size, inputs = state["fc1.weight"].shape
    max_bin, bins = len(state["input_mean"]), len(state["output_mean"])
    channels = max(inputs // max_bin, 1)
    if config is None:
        n_fft = max(2 * (bins - 1), 2)
        config = SeparatorConfig(STFTConfig(n_fft, max(n_fft // 4, 1)), channels)
    if (bins, channels) != (config.stft.bins, config.channels):
        raise CheckpointError(
            f"{path} is a network for {bins} bins and {channels} channels, but {CONFIG_NAME} or "
            f"the other targets say {config.stft.bins} bins (nfft // 2 + 1) and {config.channels} "
            "channels"
        )
    power = state.get("compression", torch.tensor(1.0))
    architecture = replace(
        config.architecture,
        hidden_size=hidden_size,
        nb_layers=max(sum(bool(_LAYER.fullmatch(key)) for key in state), 1),
        unidirectional="lstm.weight_ih_l0_reverse" not in state,
        bandwidth=_bandwidth(config, max_bin),
        compression=float(power) if power.ndim == 0 else math.nan,
    )
    return replace(config, architecture=architecture)


def _bandwidth(config: SeparatorConfig, max_bin: int) -> float | None:
    """Bandwidth in Hz for a number of input bins; that of the settings if it is consistent."""
    stft, bandwidth = config.stft, config.architecture.bandwidth
    if bandwidth and bandwidth_to_max_bin(stft.sample_rate, stft.n_fft, bandwidth) == max_bin:
        return bandwidth
    return None if max_bin == stft.bins else (max_bin - 0.5) / stft.n_fft * stft.sample_rate


def write_network(path: Path, state: Mapping[str, Tensor], dtype: MatrixType) -> None:
    """Write weights as safetensors, matrices as ``dtype``; ValueError if it overflows."""
    from safetensors.torch import save

    stored: dict[str, Tensor] = {}
    for key, value in state.items():
        tensor = value.detach().cpu().contiguous()
        if tensor.ndim < 2:
            stored[key] = _halved(tensor) if dtype == "int4" else tensor
        else:
            stored |= _stored_matrix(key, tensor, dtype)
    with replacing(path) as temporary:
        temporary.write_bytes(save(stored, {"format": "pt"}))


def _halved(values: Tensor) -> Tensor:
    """Return numbers in float16 if none of them changes by a thousandth of the largest."""
    half = values.half()
    change = (half.double() - values).abs().amax()
    fits = values.is_floating_point() and change <= 1e-3 * values.abs().amax()
    return half if fits else values


def _stored_matrix(key: str, matrix: Tensor, dtype: MatrixType) -> dict[str, Tensor]:
    """Return the tensors that a file has of a matrix."""
    if dtype is None:
        return {key: matrix}
    if dtype == "int4" and matrix.shape[-1] % 2 == 0:
        try:
            parts = pack(matrix.float().numpy())
        except ValueError as error:
            raise ValueError(f"{key!r}: {error}; choose another dtype") from error
        return dict(zip(keys_of(key), map(torch.from_numpy, parts), strict=True))
    kind = torch.float16 if dtype == "int4" else dtype  # two codes share a byte
    tensor = matrix.to(kind)
    if not tensor.isfinite().all():
        raise ValueError(f"{key!r} has values that {kind} cannot hold; choose another dtype")
    return {key: tensor}
