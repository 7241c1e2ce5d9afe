"""Networks as one file of ONNX, which runs where torch does not: ``umx-models export``.

``docs/onnx.md`` describes the graph, and what a port has to do around it. ``open_unmix.py`` and
``bands.py`` have the two kinds of networks, ``layers.py`` and ``graph.py`` what they consist of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from openunmix._files import replacing
from openunmix._version import __version__
from openunmix.errors import MissingExtraError
from openunmix.model import MaskNetwork, Separator
from openunmix.model.sharing import masks
from openunmix.predict._bands import BandNetworks
from openunmix.predict._folded import FoldedNetworks
from openunmix.predict._networks import Networks, networks_of
from openunmix.predict.export.bands import add_bands, array
from openunmix.predict.export.graph import Graph
from openunmix.predict.export.layers import add_inputs, add_masks
from openunmix.predict.export.open_unmix import add_open_unmix

__all__ = ["PRECISIONS", "export_onnx"]

#: Number formats of the matrices in a file: as trained, half of the size, a quarter.
PRECISIONS = ("float32", "float16", "int8")

# Largest difference of a mask from that of torch, by precision.
_TOLERANCES = {"float32": 1e-5, "float16": 2e-2, "int8": 0.5}
# Frames of the comparison.
_FRAMES = 64


def export_onnx(
    separator: Separator,
    path: str | Path,
    precision: str = "float32",
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write the networks of a separator as a file of ONNX, checked against torch.

    The graph takes magnitudes (frames, channels, bins) of any number of frames to masks (targets,
    frames, channels, bins). STFT and Wiener filter are not part of it.

    Parameters
    ----------
    separator : Separator
        With networks of the package, in evaluation mode.
    path : str or Path
        The file to write, as a whole or not at all.
    precision : str
        One of :data:`PRECISIONS`. ``"int8"`` quantises the matrices of OpenUnmix by channel.
    metadata : mapping, optional
        Added to what the file says of itself: licence, hash of the weights.

    Raises
    ------
    ValueError
        If the precision is unknown, a network is not one of the package, or the graph computes
        something else than torch.
    MissingExtraError
        If ``onnx`` or ``onnxruntime`` is not installed.
    """
    _check_installed()
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; choose from {list(PRECISIONS)}")
    networks = networks_of(separator, torch.float32, None, 0)
    graph = _graph(separator, networks, precision)
    content = graph.model(_metadata(separator, {"stride": networks.stride, **(metadata or {})}))
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(content.SerializeToString())
        _compare(separator, temporary, _TOLERANCES[precision])


def _check_installed() -> None:
    """Raise unless the packages of the extra are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"the export needs a package that is not installed ({error.name}); install the extra: "
            "pip install 'openunmix[onnx]'"
        ) from error


def _graph(separator: Separator, networks: Networks, precision: str) -> Graph:
    """Build the graph of all networks."""
    graph = Graph(precision)
    channels, bins = separator.nb_channels, separator.n_fft // 2 + 1
    x, chunk = add_inputs(graph, channels, bins)
    if isinstance(networks, FoldedNetworks):
        weights = [_weights(network) for network in separator.target_models.values()]
        bridged = separator.bridged
        parts = add_open_unmix(graph, weights, networks.trunk_of, channels, bridged, x, chunk)
    elif isinstance(networks, BandNetworks):
        parts = add_bands(graph, networks, x, chunk)
    else:
        raise ValueError("only networks of OpenUnmix or BandUnmix can be exported")
    add_masks(graph, parts, channels, bins)
    return graph


def _weights(network: nn.Module) -> dict[str, np.ndarray]:
    """Weights of a network by name."""
    return {name: array(tensor) for name, tensor in network.state_dict().items()}


def _metadata(separator: Separator, more: Mapping[str, Any]) -> dict[str, str]:
    """Describe the graph: values are text, as ONNX has them, lists as JSON."""
    described = {
        "targets": list(separator.target_models),
        "n_fft": separator.n_fft,
        "n_hop": separator.n_hop,
        "sample_rate": float(separator.sample_rate),
        "nb_channels": separator.nb_channels,
        "causal": all(network.architecture.unidirectional for network in _networks(separator)),
        "openunmix": __version__,
        **more,
    }
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in described.items()
    }


def _networks(separator: Separator) -> list[MaskNetwork]:
    """Networks of a separator that has only those of the package."""
    return cast("list[MaskNetwork]", list(separator.target_models.values()))


def _compare(separator: Separator, path: Path, tolerance: float) -> None:
    """Raise ValueError if the graph in a file computes other masks than torch."""
    import onnxruntime

    channels, bins = separator.nb_channels, separator.n_fft // 2 + 1
    generator = torch.Generator().manual_seed(0)
    magnitude = torch.rand(_FRAMES, channels, bins, generator=generator)
    with torch.no_grad():
        batch, own = magnitude[:, None], _networks(separator)
        expected = torch.stack(masks(own, batch, separator.bridged))[:, :, 0]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs that may be left out
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["masks"], {"magnitude": magnitude.numpy()})
    difference = float(((torch.from_numpy(found) - expected) * magnitude).abs().max())
    if not difference <= tolerance:
        raise ValueError(
            f"the masks of the graph differ from those of torch by {difference:g}, more than "
            f"{tolerance:g}; use another precision, or report it with the model"
        )
