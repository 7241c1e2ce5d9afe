"""The recipes are configurations of ``umx-train``: what they ask of it, it understands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from openunmix.cli import _train
from openunmix.cli._train_options import settings
from openunmix.data.augment.effects import Effects
from openunmix.training import TrainingConfig

RECIPES = Path(__file__).parents[2] / "recipes"
# Writes the arguments, one a line, and an empty line after those of a command.
STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$@" "" >> "$ARGUMENTS"\n'


@pytest.fixture
def configurations(tmp_path: Path):
    """Return what a script of a recipe asks of ``umx-train``, command by command."""

    def run(script: str, *arguments: str) -> list[TrainingConfig]:
        written = tmp_path / "arguments"
        for name, content in {"umx-train": STAND_IN, "python": "#!/bin/sh\n"}.items():
            (tmp_path / name).write_text(content)
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "ARGUMENTS": str(written)}
        subprocess.run(["sh", str(RECIPES / script), *arguments], env=environment, check=True)
        commands = written.read_text().removesuffix("\n\n").split("\n\n")
        parsed = [_train.parser().parse_args(command.split("\n")) for command in commands]
        return [settings(args) for args in parsed]

    return run


def test_umxs(configurations):
    (config,) = configurations("umxs/train.sh", "DATA", "PACKAGES", "SUNG", "OUTPUT")
    assert config.architecture.shared
    assert config.mixing is not None
    assert config.mixing.levels == "original"
    shares = {target: 0.0 for target in config.targets}
    for folder in config.mixing.extra:
        shares[folder.target] += folder.share
    assert shares == pytest.approx({"vocals": 0.5, "drums": 0.2, "bass": 0.2, "other": 0.2})


def test_umxlive(configurations):
    (config,) = configurations("umxlive/train.sh", "DATA", "PACKAGES", "OUTPUT")
    assert config.mixing is not None
    excluded = {track for track, targets in config.mixing.exclude.items() if len(targets) == 4}
    assert len(excluded) == 4
    assert (config.batch_size, config.steps, config.schedule) == (8, 3600, "trapezoid")


def test_umxses(configurations):
    alone, filtered = configurations("umxses/train.sh", "DATA", "OUTPUT", "--steps", "3")
    assert (alone.loss, filtered.loss) == ("normalized-mse-sqrt", "wiener-sqrt")
    for config in (alone, filtered):
        assert config.targets == ("speech", "noise")
        assert (config.nb_channels, config.stft.sample_rate, config.steps) == (1, 16000, 3)
        mixing = config.mixing
        assert mixing is not None
        assert (mixing.balance, mixing.spread) == ({"noise": -5.0}, 2.5)
        assert mixing.effects == {"noise": Effects(layer=0.2)}
        shares = {Path(folder.path).name: folder.share for folder in mixing.extra}
        assert shares == {
            "reverberant": 0.75,
            "babble": 0.14,
            "hum": 0.06,
            "white": 0.05,
            "pink": 0.07,
        }
