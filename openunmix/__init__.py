"""Open-Unmix 2: separates music into vocals, drums, bass and other instruments.

Every published model has two functions here: ``umxhq()`` returns a separator, from waveform to
waveforms, and ``umxhq_spec()`` its networks, which work on magnitude spectrograms. They take the
arguments of :func:`openunmix.utils.load_separator` and :func:`openunmix.utils.load_target_models`.

>>> import openunmix
>>> separator = openunmix.umxse(pretrained=False)
>>> int(separator.sample_rate), separator.sources
(16000, ['speech', 'noise'])
"""

from __future__ import annotations

from collections.abc import Sequence

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
    "umxs",
    "umxs_spec",
    "umxse",
    "umxse_spec",
    "umxses",
    "umxses_spec",
    "utils",
]


def umx_spec(
    targets: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, model.MaskNetwork]:
    """Return the networks of ``umx``: vocals, drums, bass and other.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target.
    """
    return utils.load_target_models(targets, "umx", device, pretrained)


def umx(
    targets: Sequence[str] | None = None,
    residual: bool = False,
    niter: int = 1,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umx``, trained on MUSDB18.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    residual : bool
        Add what the targets leave of the mixture.
    niter : int
        Iterations of expectation maximization.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.
    wiener_win_len : int or None
        Frames that are filtered together; None for all.
    filterbank : str
        ``"torch"`` or ``"asteroid"``.

    Returns
    -------
    Separator
        From waveforms to waveforms.
    """
    return utils.load_separator(
        "umx", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxhq_spec(
    targets: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, model.MaskNetwork]:
    """Return the networks of ``umxhq``: vocals, drums, bass and other.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target.
    """
    return utils.load_target_models(targets, "umxhq", device, pretrained)


def umxhq(
    targets: Sequence[str] | None = None,
    residual: bool = False,
    niter: int = 1,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxhq``, trained on MUSDB18-HQ; the default model.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    residual : bool
        Add what the targets leave of the mixture.
    niter : int
        Iterations of expectation maximization.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.
    wiener_win_len : int or None
        Frames that are filtered together; None for all.
    filterbank : str
        ``"torch"`` or ``"asteroid"``.

    Returns
    -------
    Separator
        From waveforms to waveforms.
    """
    return utils.load_separator(
        "umxhq", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxl_spec(
    targets: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, model.MaskNetwork]:
    """Return the networks of ``umxl``: vocals, drums, bass and other.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target.
    """
    return utils.load_target_models(targets, "umxl", device, pretrained)


def umxl(
    targets: Sequence[str] | None = None,
    residual: bool = False,
    niter: int = 1,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxl``, trained on more, private data; not for commercial use.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    residual : bool
        Add what the targets leave of the mixture.
    niter : int
        Iterations of expectation maximization.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.
    wiener_win_len : int or None
        Frames that are filtered together; None for all.
    filterbank : str
        ``"torch"`` or ``"asteroid"``.

    Returns
    -------
    Separator
        From waveforms to waveforms.
    """
    return utils.load_separator(
        "umxl", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxs_spec(
    targets: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, model.MaskNetwork]:
    """Return the networks of ``umxs``: vocals, drums, bass and other.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target.
    """
    return utils.load_target_models(targets, "umxs", device, pretrained)


def umxs(
    targets: Sequence[str] | None = None,
    residual: bool = False,
    niter: int = 1,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    wiener_win_len: int | None = 300,
    filterbank: str = "torch",
) -> model.Separator:
    """Return the separator ``umxs``, small, bundled with the package.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    residual : bool
        Add what the targets leave of the mixture.
    niter : int
        Iterations of expectation maximization.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.
    wiener_win_len : int or None
        Frames that are filtered together; None for all.
    filterbank : str
        ``"torch"`` or ``"asteroid"``.

    Returns
    -------
    Separator
        From waveforms to waveforms.
    """
    return utils.load_separator(
        "umxs", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxse_spec(
    targets: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, model.MaskNetwork]:
    """Return the networks of ``umxse``: speech and noise, 16 kHz mono.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target.
    """
    return utils.load_target_models(targets, "umxse", device, pretrained)


def umxse(
    targets: Sequence[str] | None = None,
    residual: bool = False,
    niter: int = 1,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    filterbank: str = "torch",
    wiener_win_len: int | None = 300,
) -> model.Separator:
    """Return the separator ``umxse`` for speech in noise, 16 kHz mono.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    residual : bool
        Add what the targets leave of the mixture.
    niter : int
        Iterations of expectation maximization.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.
    filterbank : str
        ``"torch"`` or ``"asteroid"``.
    wiener_win_len : int or None
        Frames that are filtered together; None for all.

    Returns
    -------
    Separator
        From waveforms to waveforms.
    """
    return utils.load_separator(
        "umxse", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )


def umxses_spec(
    targets: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
) -> dict[str, model.MaskNetwork]:
    """Return the networks of ``umxses``: speech and noise, 16 kHz mono.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.

    Returns
    -------
    dict of str to MaskNetwork
        A network per target.
    """
    return utils.load_target_models(targets, "umxses", device, pretrained)


def umxses(
    targets: Sequence[str] | None = None,
    residual: bool = False,
    niter: int = 1,
    device: str | torch.device = "cpu",
    pretrained: bool = True,
    filterbank: str = "torch",
    wiener_win_len: int | None = 300,
) -> model.Separator:
    """Return the separator ``umxses`` for speech in noise, small, bundled with the package.

    Parameters
    ----------
    targets : list of str, optional
        The targets, all if not given.
    residual : bool
        Add what the targets leave of the mixture.
    niter : int
        Iterations of expectation maximization.
    device : str or torch.device
        Where to compute.
    pretrained : bool
        Load the weights; random ones otherwise.
    filterbank : str
        ``"torch"`` or ``"asteroid"``.
    wiener_win_len : int or None
        Frames that are filtered together; None for all.

    Returns
    -------
    Separator
        From waveforms to waveforms.
    """
    return utils.load_separator(
        "umxses", targets, niter, residual, wiener_win_len, device, pretrained, filterbank
    )
