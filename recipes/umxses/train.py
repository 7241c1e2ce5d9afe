"""Train umxses: ``python recipes/umxses/train.py DATA OUTPUT``. Started again, it goes on.

DATA is what ``data.py`` made. OUTPUT becomes a model folder, with ``checkpoint/`` and
``history.json``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mixtures import Material, NoisySpeech
from torch import Tensor
from voices import SAMPLE_RATE

from openunmix.model import Architecture
from openunmix.training import TrainingConfig, fit
from openunmix.training.losses import (
    MULTI_TARGET_LOSSES,
    SINGLE_TARGET_LOSSES,
    normalized_mse,
    wiener_gains,
)
from openunmix.training.networks import pretrained_networks
from openunmix.training.spectrograms import SpectrogramBatch
from openunmix.transforms.fourier import STFTConfig

_TARGETS = ("speech", "noise")
_LOSSES = ("normalized-mse-and-root", "wiener-and-root")
_ITEMS = 200_000  # of an epoch
_TESTS = 40


def main() -> None:
    """Train until all steps are done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--targets", nargs="+", choices=_TARGETS, default=_TARGETS)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--loss", choices=_LOSSES, default=_LOSSES[0])
    parser.add_argument("--dropout", type=float, default=Architecture.dropout)
    parser.add_argument("--model", help="name or folder of a model to train further")
    parser.add_argument("--precision", choices=("float32", "bf16", "fp16"), default="bf16")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--nb-workers", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    SINGLE_TARGET_LOSSES["normalized-mse-and-root"] = normalized_mse_and_root
    MULTI_TARGET_LOSSES["wiener-and-root"] = wiener_and_root
    config = TrainingConfig(
        targets=tuple(args.targets),
        nb_channels=1,
        architecture=Architecture(hidden_size=256, bandwidth=SAMPLE_RATE / 2, dropout=args.dropout),
        stft=STFTConfig(1024, 512, SAMPLE_RATE),
        duration=2.0,
        batch_size=args.batch_size,
        steps=args.steps,
        loss=args.loss,
        cooldown=0.6,
        ema_decay=0.99,
        precision=args.precision,
    )
    networks = None
    if args.model:
        networks, config = pretrained_networks(args.model, config)
    fit(
        config,
        NoisySpeech(Material(args.data / "train.npz"), _ITEMS, config.duration, args.targets),
        args.output,
        NoisySpeech(Material(args.data / "valid.npz"), _TESTS, 6.0, args.targets),
        networks=networks,
        device=args.device,
        workers=args.nb_workers,
        on_record=lambda trainer, record: logging.info(shown(record)),
    )


def normalized_mse_and_root(batch: SpectrogramBatch, mask: Tensor, target: int) -> Tensor:
    """Sum of the relative squared errors of magnitudes and of their square roots.

    Those of the roots count quiet bins more: treble, pauses, and noise well below the speech.

    Parameters
    ----------
    batch : SpectrogramBatch
        Mixtures and sources.
    mask : Tensor [shape=(frames, batch, channels, bins)], real
        The mask of the source.
    target : int
        The index of the source.

    Returns
    -------
    Tensor [shape=()], real
        The mean over the batch.
    """
    return SINGLE_TARGET_LOSSES["normalized-mse"](batch, mask, target) + _error_of_roots(
        batch, mask, target
    )


def wiener_and_root(batch: SpectrogramBatch, masks: Sequence[Tensor]) -> list[Tensor]:
    """Errors of the estimates, and of what the filter makes of both: in phase, and of the roots.

    Parameters
    ----------
    batch : SpectrogramBatch
        Mixtures and sources.
    masks : sequence of Tensor [shape=(frames, batch, channels, bins)], real
        A mask for each source.

    Returns
    -------
    list of Tensor [shape=()], real
        A loss for each source.
    """
    gains = wiener_gains(batch.magnitude, masks)
    return [
        SINGLE_TARGET_LOSSES["normalized-mse"](batch, mask, j)
        + SINGLE_TARGET_LOSSES["phase-sensitive"](batch, gain, j)
        + _error_of_roots(batch, gain, j)
        for j, (mask, gain) in enumerate(zip(masks, gains, strict=True))
    ]


def _error_of_roots(batch: SpectrogramBatch, mask: Tensor, target: int) -> Tensor:
    """Relative squared error of the square roots of magnitudes."""
    reference = batch.sources[:, :, target].abs()
    magnitudes = (reference, mask * batch.magnitude, batch.magnitude)
    # The root of 0 has no slope.
    return normalized_mse(*((magnitude + 1e-4).sqrt() for magnitude in magnitudes))


def shown(record: dict[str, object]) -> str:
    """Return a record as one line."""
    return ", ".join(f"{name} {value}" for name, value in record.items())


if __name__ == "__main__":
    main()
