"""Train umxses: ``python recipes/umxses/train.py DATA OUTPUT``. Started again, it goes on.

DATA is what ``data.py`` made. OUTPUT becomes a model folder, with ``checkpoint/`` and
``history.json``.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mixtures import Material, NoisySpeech
from scores import Noisy, improvement, noisy_speech
from voices import SAMPLE_RATE

from openunmix.model import OpenUnmix, Separator
from openunmix.training import TrainingConfig, fit
from openunmix.training.config import PRECISIONS

_ITEMS = 200_000  # of an epoch


def main() -> None:
    """Train until all steps are done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--loss", default="relative-mse")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    config = TrainingConfig(
        targets=("speech", "noise"),
        nb_channels=1,
        sample_rate=SAMPLE_RATE,
        n_fft=1024,
        n_hop=512,
        bandwidth=SAMPLE_RATE / 2,
        duration=2.0,
        steps=args.steps,
        loss=args.loss,
        precision=args.precision,
        validate_every=500,
    )
    train = NoisySpeech(Material(args.data / "train.npz"), _ITEMS, config.duration)
    tests = noisy_speech(Material(args.data / "valid.npz"), snr=0.0, count=24)
    fit(
        config,
        train,
        args.output,
        scores=lambda networks: validated(networks, config, tests),
        on_record=lambda trainer, record: logging.info(shown(record)),
        device=args.device,
    )


def validated(
    networks: dict[str, OpenUnmix], config: TrainingConfig, tests: list[Noisy]
) -> dict[str, float]:
    """Return by how much the networks improve SI-SDR at 0 dB, without and with the filter."""
    found = {}
    for niter in (0, 1):
        separator = Separator(
            target_models=networks,
            niter=niter,
            sample_rate=config.sample_rate,
            n_fft=config.n_fft,
            n_hop=config.n_hop,
            nb_channels=1,
        )
        values = [improvement(separator, test) for test in tests]
        found[f"niter {niter}"] = round(sum(values) / len(values), 3)
    return found


def shown(record: dict[str, object]) -> str:
    """Return a record as one line."""
    return ", ".join(f"{name} {value}" for name, value in record.items())


if __name__ == "__main__":
    main()
