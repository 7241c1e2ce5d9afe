"""Score a model on speech in noise, as Markdown tables: ``python recipes/umxses/scores.py DATA``.

Voices and noises are those of ``DATA/valid``, which training never heard. Every scene, and babble,
hum, white and pink noise, is mixed with both voices at every signal-to-noise ratio.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from pesq import pesq
from pystoi import stoi
from torch import Tensor
from voices import SAMPLE_RATE

import openunmix
from openunmix.data.tracks import find_tracks
from openunmix.evaluate.metrics import si_sdr
from openunmix.model import Separator
from openunmix.predict.stream import separate_waveform
from openunmix.utils import load_separator

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
from tables import Cell, Table, add_save_option, report

_SNRS = (-5.0, 0.0, 5.0, 10.0, 15.0)

Measure = Callable[[np.ndarray, np.ndarray], float]


class Noisy(NamedTuple):
    """A mixture to clean.

    Attributes
    ----------
    kind : str
        What the noise is.
    speech, noise : Tensor [shape=(1, samples)], real
        What it is made of.
    """

    kind: str
    speech: Tensor
    noise: Tensor

    @property
    def mixture(self) -> Tensor:
        """The sum: (1, samples)."""
        return self.speech + self.noise


def main() -> None:
    """Print the scores of noisy and of cleaned speech."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that data.py made")
    parser.add_argument("--model", default="umxses", help="name of a model, or a model folder")
    parser.add_argument("--niter", type=int, default=1)
    add_save_option(parser)
    args = parser.parse_args()

    targets = ["speech", "noise"]
    separator = load_separator(args.model, targets, niter=args.niter)
    tests = {snr: noisy_speech(args.data / "valid", snr) for snr in _SNRS}
    cleaned = {snr: [clean(separator, test) for test in some] for snr, some in tests.items()}
    caption = (
        f"{args.model}, niter {args.niter}, {datetime.date.today()}, "
        f"Open-Unmix {openunmix.__version__}, torch {torch.__version__}, "
        f"{len(tests[0.0])} mixtures at every SNR"
    )
    found = {"snr": by_snr(tests, cleaned), "noise": by_kind(tests[0.0], cleaned[0.0])}
    name = "scores-umxses" if args.niter else "scores-umxses-plain"
    command = f"recipes/umxses/scores.py DATA --niter {args.niter}"
    report(name, command, caption, found, args.save)


def noisy_speech(folder: Path, snr: float) -> list[Noisy]:
    """Read speech and noise of one power, and scale the noise to a signal-to-noise ratio in dB."""
    tracks = [track.read() for track in find_tracks(folder, subset="", is_wav=True)]
    gain = 10 ** (-snr / 20)
    return [
        Noisy(track.name.partition(".")[0], track.sources["speech"], gain * track.sources["noise"])
        for track in tracks
    ]


def clean(separator: Separator, test: Noisy) -> Tensor:
    """Return the speech (1, samples) that a separator finds, as the ``umx`` command does."""
    return separate_waveform(separator, test.mixture)[0]


def _gain(test: Noisy, estimate: Tensor) -> float:
    """SI-SDR of an estimate (1, samples) beyond that of the mixture, in dB."""
    return float(si_sdr(test.speech, estimate) - si_sdr(test.speech, test.mixture))


def _pesq(speech: np.ndarray, estimate: np.ndarray) -> float:
    """Wideband PESQ, from 1 to 4.6."""
    return float(pesq(SAMPLE_RATE, speech, estimate, "wb"))


def _stoi(speech: np.ndarray, estimate: np.ndarray) -> float:
    """STOI, up to 1."""
    return float(stoi(speech, estimate, SAMPLE_RATE))


def by_snr(tests: dict[float, list[Noisy]], cleaned: dict[float, list[Tensor]]) -> Table:
    """Make the table of means over all mixtures, a row for every signal-to-noise ratio."""
    columns = ["SNR", "SI-SDR improvement", "PESQ noisy", "PESQ", "STOI noisy", "STOI"]
    table = Table(columns, ["", "{:.1f} dB", "{:.2f}", "{:.2f}", "{:.3f}", "{:.3f}"])
    for snr, some in tests.items():
        row: list[Cell] = [f"{snr:g} dB", mean(map(_gain, some, cleaned[snr]))]
        for measure in (_pesq, _stoi):
            for estimates in ([test.mixture for test in some], cleaned[snr]):
                row.append(_mean(measure, some, estimates))
        table.rows.append(row)
    return table


def _mean(measure: Measure, tests: list[Noisy], estimates: list[Tensor]) -> float:
    """Mean of a measure over some mixtures."""
    pairs = zip(tests, estimates, strict=True)
    return mean(measure(test.speech[0].numpy(), estimate[0].numpy()) for test, estimate in pairs)


def by_kind(tests: list[Noisy], cleaned: list[Tensor]) -> Table:
    """Make the table of SI-SDR improvements by noise."""
    found: dict[str, list[float]] = {}
    for test, estimate in zip(tests, cleaned, strict=True):
        found.setdefault(test.kind, []).append(_gain(test, estimate))
    rows = sorted(((kind, mean(gains)) for kind, gains in found.items()), key=lambda row: -row[1])
    return Table(
        ["noise, at 0 dB", "SI-SDR improvement"], ["", "{:.1f} dB"], [list(row) for row in rows]
    )


if __name__ == "__main__":
    main()
