"""Smoke test of an installed wheel: without network, from an empty folder.

Run it with the Python of an environment into which the wheel was installed. It checks that it
is complete; the tests check that it is correct.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
TARGETS = ["vocals", "drums", "bass", "other"]


def command(*arguments: str) -> str:
    """Run an installed command; return its standard output."""
    program = Path(sys.executable).with_name(arguments[0])
    print("$", *arguments, flush=True)
    return subprocess.run(
        [program, *arguments[1:]], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def check(condition: bool, message: str) -> None:
    """Exit with a message unless a condition holds."""
    if not condition:
        raise SystemExit(f"smoke: {message}")


def main() -> None:
    """Run all steps in a temporary folder."""
    checkout = Path(__file__).resolve().parent.parent / "openunmix"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.update(OPENUNMIX_OFFLINE="1", TORCH_HOME=folder)
        from openunmix import predict
        from openunmix.pretrained.registry import MODELS

        noise = 0.1 * np.random.default_rng(0).standard_normal((2 * RATE, 2), dtype=np.float32)
        soundfile.write("song.wav", noise, RATE, subtype="FLOAT")

        package = files("openunmix")
        check(Path(str(package)).resolve() != checkout, "this is the checkout, not the wheel")
        check(package.joinpath("py.typed").is_file(), "the wheel has no py.typed")
        for name in (name for name, entry in MODELS.items() if entry.bundled):
            card = package.joinpath("weights", name, "README.md")
            check(card.is_file(), f"the wheel has no card of the bundled model {name}")
            print(command("umx-models", "verify", name), end="")

        command("umx", "song.wav", "--model", "umxses")
        speech, rate = soundfile.read("song_umxses/speech.wav", always_2d=True)
        check(speech.shape == noise.shape and rate == RATE, "speech.wav has another shape")
        command("umx", "song.wav")
        for target in TARGETS:
            estimate, rate = soundfile.read(f"song_umxs/{target}.wav", always_2d=True)
            check(estimate.shape == noise.shape and rate == RATE, f"{target}.wav has another shape")
            check(bool(np.isfinite(estimate).all()), f"{target}.wav is not finite")

        estimates = predict.separate(noise.T, RATE, "umxs", targets=["vocals"])
        check(estimates["vocals"].shape == (1, *noise.T.shape), "the estimate has another shape")
    print("the installed package works")


if __name__ == "__main__":
    main()
