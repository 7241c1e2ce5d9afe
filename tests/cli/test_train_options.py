"""Options of ``umx-train``, and its old spelling ``scripts/train.py``."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from helpers.train_command import TRACKS, train

from openunmix.cli import _train
from openunmix.cli._train_options import settings
from openunmix.data import EFFECTS, MixingConfig
from openunmix.data.stems import StemFolder
from openunmix.model import Architecture
from openunmix.transforms.fourier import STFTConfig

SCRIPT = Path(__file__).parents[2] / "scripts/train.py"


def mixing(*arguments):
    """Settings of mixing that arguments ask for."""
    args = _train.parser().parse_args(["--root", "data", "--targets", "vocals", *arguments])
    return settings(args).mixing


def test_mixtures_are_made_as_asked():
    assert mixing() == MixingConfig()
    assert mixing().balance == {"drums": 0.5, "bass": -1.0}
    changed = mixing(
        *("--levels", "original", "--coherent", "0", "--transpose", "1.5", "--silent", "0.1"),
        *("--effects", "vocals=voice", "--effects", "drums=band"),
        *("--transpose-source", "vocals=4", "--exclude", "a=drums,bass"),
        *("--level", "-27", "--balance", "drums=-5", "--spread", "2"),
    )
    assert changed == MixingConfig(
        levels="original",
        coherent=0.0,
        transpose=1.5,
        silent=0.1,
        effects={"vocals": EFFECTS["voice"], "drums": EFFECTS["band"]},
        transpose_source={"vocals": 4.0},
        level=-27.0,
        balance={"drums": -5.0},
        spread=2.0,
        exclude={"a": ("drums", "bass")},
    )


def test_weights_of_folders_are_numbers_at_the_end():
    assert mixing("--also", "a=0.5", "--also", "b").also == (
        StemFolder("a", weight=0.5),
        StemFolder("b"),
    )
    assert mixing("--also", "a=b").also == (StemFolder("a=b"),)
    assert mixing("--extra", "drums=a=b=25%").extra == (StemFolder("a=b", "drums", share=0.25),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden-size", "0"], "--hidden-size must be positive"),
        (["--hidden-size", "7"], "hidden_size=7 must be even"),
        (["--compression", "0"], "--compression must be positive"),
        (["--compression", "1.5"], "compression=1.5 must be more than 0, and 1 at most"),
        (["--steps", "0"], "--steps must be positive"),
        (["--steps", "many"], "invalid int value"),
        (["--steps", "3", "--epochs", "2"], "--epochs or --steps, not both"),
        (["--epochs", "2"], "--dataset stems has no epochs; give --steps"),
        (["--batch-size", "-1"], "--batch-size must be positive"),
        (["--seq-dur", "nan"], "--seq-dur must be positive"),
        (["--lr", "0"], "--lr must be positive"),
        (["--clip", "-1"], "--clip must be 0 or more"),
        (["--ema-decay", "1"], "--ema-decay must be less than 1"),
        (["--dropout", "1"], "--dropout must be less than 1"),
        (["--nhop", "500"], "hop of 500 samples"),
        (["--nfft", "513"], "--nfft 513 must be even"),
        (["--extra", "drums"], "'drums' is not of the form NAME=VALUE"),
        (["--extra", "guitar=."], "--extra: ['guitar'] are not among"),
        (["--extra", "drums=data=120%"], "the shares of 'drums' in its folders are 120% together"),
        (["--transpose-source", "bass=1"], "--transpose-source: ['bass'] are not among"),
        (["--balance", "noise=-5"], "--balance: ['noise'] are not among ['vocals', 'drums']"),
        (["--level", "3"], "--level must be between -100 and 0, not 3"),
        (["--accompaniment", "data=2"], "--accompaniment must be between 0 and 1, not 2"),
        (["--accompaniment", "data"], "sources that are no targets; there are none"),
        (["--exclude", "=drums"], "is not of the form"),
        (["--levels", "loud"], "invalid choice"),
        (["--coherent", "1.5"], "--coherent must be between 0 and 1, not 1.5"),
        (["--transpose", "nan"], "--transpose must be between 0 and 12, not nan"),
        (["--effects", "flute=voice"], "--effects: ['flute'] are not among ['vocals', 'drums']"),
        (["--effects", "vocals=bathroom"], "unknown effects 'bathroom' of vocals: choose from"),
        (["--dataset", "synthetic", "--coherent", "0"], "--coherent is for --dataset stems"),
        (["--equalise", "-3"], "--equalise must be 0 or more"),
        (["--precision", "int8"], "invalid choice"),
        (["--target", "vocals"], "not allowed with argument"),
        (["--targets", "vocals", "--bridged"], "--bridged needs several --targets"),
        (["--targets", "vocals", "--shared"], "--shared needs several --targets"),
        (["--targets", "vocals", "--loss", "multi-domain"], "needs several --targets"),
        (["--is-wav"], "--is-wav is not an option of --dataset stems"),
        (["--dataset", "trackfolder_var"], "needs --target-file"),
        (["--dataset", "synthetic", "--extra", "drums=."], "--extra is for --dataset stems"),
        (["--dataset", "synthetic", "--targets", "flute"], "no target 'flute'"),
        (["--nb-workers", "-1"], "--nb-workers must be 0 or more, not -1"),
        (["--unknown"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(data, capsys, arguments, message):
    assert train(*arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path("run").exists()


def test_options_of_the_documentation_are_those_of_the_parser():
    page = (SCRIPT.parents[1] / "docs/training.md").read_text("utf-8")
    document = runpy.run_path(str(SCRIPT.with_name("document_options.py")))
    table = document["options_table"](_train.parser())
    assert document["with_table"](page, table) == page, "run python scripts/document_options.py"


def test_defaults_of_options_are_those_of_the_presets():
    options = {action.option_strings[-1]: action.help or "" for action in _train.parser()._actions}
    for option, default in {
        "--hidden-size": "64, 256, 512",
        "--steps": "600, 6000, none",
        "--epochs": "none, none, 1000",
        "--lr": "0.001",
        "--clip": "5, 5, 0",
        "--precision": "float32, bf16, float32",
        "--coherent": "0.4",
        "--seq-dur": "2, 3, 6",
    }.items():
        assert options[option].endswith(f" (default: {default})"), option


def run_script(monkeypatch, *arguments):
    """Run scripts/train.py; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return end.value.code


def test_old_script_writes_the_old_files(data, monkeypatch):
    options = [*TRACKS, "--interferer-files", "drums.wav", "--nfft", 512, "--nhop", 128]
    options += ["--hidden-size", 8, "--seq-dur", 0.5, "--batch-size", 2, "--epochs", 2]
    assert run_script(monkeypatch, "--dataset", "trackfolder_fix", *options, "--quiet") == 0
    names = {path.name for path in Path("open-unmix").iterdir()}
    assert names >= {"vocals.pth", "vocals.json", "vocals.chkpnt", "separator.json"}
    told = json.loads(Path("open-unmix/vocals.json").read_text())
    assert told["epochs_trained"] == 2
    assert len(told["valid_loss_history"]) == 2


def test_defaults_of_the_old_script_are_those_of_version_1(monkeypatch):
    seen = []
    monkeypatch.setattr(_train, "run", lambda args: seen.append(args) or 0)
    assert run_script(monkeypatch) == 0
    (args,) = seen
    assert (args.dataset, str(args.output)) == ("musdb", "open-unmix")
    assert (args.nb_workers, args.quiet, args.no_cuda) == (0, False, False)
    config = settings(args)
    assert config.targets == ("vocals",)
    assert (config.epochs, config.batch_size, config.learning_rate) == (1000, 16, 0.001)
    assert (config.patience, config.decay_patience, config.decay_factor) == (140, 80, 0.3)
    assert (config.weight_decay, config.seed, config.duration) == (1e-5, 42, 6.0)
    assert config.stft == STFTConfig(4096, 1024, 44100.0)
    assert config.architecture == Architecture(hidden_size=512, bandwidth=16000)
    assert (config.nb_channels, config.loss) == (2, "mse")
    assert config.schedule == "plateau"


def test_every_old_option_is_known():
    options = """--dataset musdb --root x --target bass --output o --model m --checkpoint c
    --audio-backend soundfile --epochs 3 --batch-size 4 --lr 0.1 --patience 5
    --lr-decay-patience 6 --lr-decay-gamma 0.5 --weight-decay 0.1 --seed 1 --seq-dur 2
    --unidirectional --nfft 512 --nhop 256 --hidden-size 16 --bandwidth 9000 --nb-channels 1
    --nb-workers 2 --debug --quiet --no-cuda --is-wav --samples-per-track 7
    --source-augmentations gain channelswap --interferer-dirs a b --target-dir c --ext .wav
    --nb-train-samples 3 --nb-valid-samples 4 --target-file v.wav --interferer-files d.wav
    --random-track-mix --random-interferer-mix --silence-missing --input-file i --output-file o"""
    args = _train.parser().parse_args(options.split())
    config = settings(args)
    assert (config.targets, config.epochs, config.batch_size) == (("bass",), 3, 4)
    assert (config.patience, config.decay_patience, config.decay_factor) == (5, 6, 0.5)
    assert (config.duration, config.architecture.bandwidth, config.nb_channels) == (2, 9000, 1)
    assert config.statistics_excerpts == 0  # --debug
    assert config.architecture.unidirectional
