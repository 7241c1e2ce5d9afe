"""Open-Unmix 2: separates music into vocals, drums, bass and other instruments.

Every published model has two functions here. ``umxhq()`` returns a separator, from waveform to
waveforms; ``umxhq_spec()`` its networks by target, from magnitude to magnitude spectrogram. Their
arguments are those of :func:`openunmix.utils.load_separator`: the ``targets`` to estimate, whether
the ``residual`` is one of them, ``niter`` iterations of expectation maximization, the ``device``,
whether to load the ``pretrained`` weights, ``wiener_win_len`` in frames, and the ``filterbank``.

>>> import openunmix
>>> separator = openunmix.umxse(pretrained=False)
>>> int(separator.sample_rate), separator.sources
(16000, ['speech', 'noise'])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch

from openunmix import filtering, model, transforms, utils
from openunmix._version import __version__

__all__ = [
    "__version__",
    "filtering",
    "model",
    "transforms",
    "umx",
    "umx_spec",
    "umxhq",
    "umxhq_spec",
    "umxl",
    "umxl_spec",
    "umxlive",
    "umxlive_spec",
    "umxs",
    "umxs_spec",
    "umxse",
    "umxse_spec",
    "umxses",
    "umxses_spec",
    "utils",
]

_Targets: TypeAlias = Sequence[str] | None
_Device: TypeAlias = str | torch.device
_Networks: TypeAlias = dict[str, model.MaskNetwork]


def umx_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umx``: vocals, drums, bass and other."""
    return utils.load_target_models(targets, "umx", device, pretrained)


def umx(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umx``, trained on MUSDB18."""
    return utils.load_separator(
        "umx", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxhq_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umxhq``: vocals, drums, bass and other."""
    return utils.load_target_models(targets, "umxhq", device, pretrained)


def umxhq(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxhq``, trained on MUSDB18-HQ; the default model."""
    return utils.load_separator(
        "umxhq", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxl_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umxl``: vocals, drums, bass and other."""
    return utils.load_target_models(targets, "umxl", device, pretrained)


def umxl(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxl``, trained on more, private data; not for commercial use."""
    return utils.load_separator(
        "umxl", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxs_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umxs``: vocals, drums, bass and other."""
    return utils.load_target_models(targets, "umxs", device, pretrained)


def umxs(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxs``, small, bundled with the package."""
    return utils.load_separator(
        "umxs", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxlive_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umxlive``: vocals, drums, bass and other."""
    return utils.load_target_models(targets, "umxlive", device, pretrained)


def umxlive(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxlive``, causal and small, bundled with the package."""
    return utils.load_separator(
        "umxlive", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxse_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umxse``: speech and noise, 16 kHz mono."""
    return utils.load_target_models(targets, "umxse", device, pretrained)


def umxse(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    filterbank: str = "torch",
    wiener_win_len: int | None = 300,
) -> model.Separator:
    """Return the separator ``umxse`` for speech in noise, 16 kHz mono."""
    return utils.load_separator(
        "umxse", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxses_spec(
    targets: _Targets = None, device: _Device = "cpu", pretrained: bool = True
) -> _Networks:
    """Return the networks of ``umxses``: speech and noise, 16 kHz mono."""
    return utils.load_target_models(targets, "umxses", device, pretrained)


def umxses(
    targets: _Targets = None,
    residual: bool = False,
    niter: int = 1,
    device: _Device = "cpu",
    pretrained: bool = True,
    filterbank: str = "torch",
    wiener_win_len: int | None = 300,
) -> model.Separator:
    """Return the separator ``umxses`` for speech in noise, small, bundled with the package."""
    return utils.load_separator(
        "umxses", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )
