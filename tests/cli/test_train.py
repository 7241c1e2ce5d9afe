"""The command ``umx-train``, with every dataset, and its old spelling ``scripts/train.py``."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import signal
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.sounds import noise, panned, tone

from openunmix.audio import read_audio
from openunmix.cli import _separate, _train
from openunmix.cli._train import main
from openunmix.cli._train_data import load_data
from openunmix.cli._train_options import settings
from openunmix.data import EFFECTS, MixingConfig
from openunmix.data.stems import StemFolder
from openunmix.model import Architecture, OpenUnmix
from openunmix.pretrained.folder import (
    SeparatorConfig,
    load_folder,
    load_network,
    save_config,
    save_network,
)
from openunmix.training.checkpoint import load_state, state_file
from openunmix.training.trainer import Trainer
from openunmix.training.validation import load_validation_tracks
from openunmix.transforms.fourier import STFTConfig

RATE = 44100
SMALL = ["--hidden-size", "8", "--nfft", "512", "--nhop", "128", "--batch-size", "2"]
SMALL += ["--seq-dur", "0.5", "--precision", "float32", "--no-cuda", "--nb-workers", "0"]
TINY = ["--targets", "vocals", "drums", *SMALL]
SCRIPT = Path(__file__).parents[2] / "scripts/train.py"


@pytest.fixture(autouse=True)
def _allocator(monkeypatch):
    """Leave the allocator alone: other tests in this process measure memory."""
    monkeypatch.setattr(_train, "keep_freed_memory", lambda device: False)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Make two tracks to train with and one to validate."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(["train/a", "train/b", "valid/c"]):
        folder = Path("data", name)
        folder.mkdir(parents=True)
        samples = 2 * RATE if seed < 2 else RATE
        voice = panned(tone(samples, 300.0 + 50 * seed, RATE), 0.3)
        drums = noise(samples, seed=seed)
        for stem, waveform in (("vocals", voice), ("drums", drums), ("mixture", voice + drums)):
            soundfile.write(folder / f"{stem}.wav", waveform.T.numpy(), RATE)
    return Path("data")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Make folders of sounds, one for each source."""
    monkeypatch.chdir(tmp_path)
    for seed, split in enumerate(("train", "valid")):
        for source in ("vocals", "drums"):
            folder = Path("sounds", split, source)
            folder.mkdir(parents=True)
            for count in range(2):
                waveform = noise(RATE, seed=seed + 2 * count)
                soundfile.write(folder / f"{count}.wav", waveform.T.numpy(), RATE)


def exit_code(*arguments):
    """Run the command; return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def train_one(target):
    """Train a tiny network for one target; return the exit code."""
    return exit_code("--root", "data", "--output", "run", "--target", target, *SMALL, "--steps", 1)


def train(*arguments):
    """Train a tiny model; return the exit code."""
    return exit_code("--root", "data", "--output", "run", *TINY, *arguments)


def weights(folder="run"):
    """All trained weights."""
    return torch.cat(
        [p.flatten() for n in load_folder(folder).networks.values() for p in n.parameters()]
    )


# The first minute


def test_songs_are_made_where_none_are_given(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code(*SMALL, "--steps", 12, "--save-every", 3, "--nb-valid-samples", 1) == 0
    told = capsys.readouterr().err
    assert "training on synthetic tracks, made by the code" in told
    assert "4 network(s) of hidden size 8 for vocals, drums, bass, other" in told
    assert told.count("data loading") == 4
    assert "SDR vocals" in told
    history = json.loads(Path("open-unmix/history.json").read_text())
    losses = [sum(record["loss"].values()) for record in history]
    assert losses[-1] < losses[0]
    assert load_folder("open-unmix").networks.keys() == {"vocals", "drums", "bass", "other"}


def test_second_run_says_that_all_is_done(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    arguments = [*SMALL, "--steps", 1, "--nb-valid-samples", 1]
    assert exit_code(*arguments) == exit_code(*arguments) == 0
    assert "resumed at step 1" in caplog.text


def test_quiet_run_says_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert exit_code(*SMALL, "--steps", 1, "--nb-valid-samples", 1, "--quiet") == 0
    assert capfd.readouterr() == ("", "")


# Datasets


def test_stems_become_a_model_that_umx_reads(data):
    assert train("--steps", "3") == 0
    for name in ("vocals.safetensors", "drums.safetensors", "separator.json", "report.html"):
        assert Path("run", name).is_file()
    networks, config, _ = load_folder("run")
    assert (*astuple(config.stft), config.channels) == (512, 128, RATE, 2)
    scores = json.loads(Path("run/history.json").read_text())[-1]["validation"]
    assert set(scores) == {"vocals", "drums"}
    song = "data/valid/c/vocals.wav"
    assert _separate.main([song, "--model", "run", "--outdir", "out", "--quiet"]) == 0
    for target in networks:
        assert read_audio(f"out/vocals/{target}.wav").waveform.shape == (2, RATE)


OLD = ["--target", "vocals", *SMALL, "--epochs", "2", "--output", "run"]
TRACKS = ["--root", "data", "--target-file", "vocals.wav"]
INTERFERERS = ["--interferer-files", "drums.wav", "--random-track-mix"]
SOUNDS = ["--root", "sounds", "--target-dir", "vocals", "--interferer-dirs", "drums"]


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("aligned", ["--root", "data", "--input-file", "mixture.wav", "--output-file", "v*.wav"]),
        (
            "trackfolder_fix",
            [*TRACKS, *INTERFERERS, "--source-augmentations", "gain", "channelswap"],
        ),
        (
            "trackfolder_var",
            [*TRACKS, "--ext", "s.wav", "--random-interferer-mix", "--silence-missing"],
        ),
        (
            "sourcefolder",
            [*SOUNDS, "--nb-train-samples", "4", "--nb-valid-samples", "2", "--ext", ".wav"],
        ),
        ("synthetic", ["--nb-train-samples", "4", "--nb-valid-samples", "1"]),
    ],
)
def test_data_sets_of_version_1(data, folders, dataset, options):
    assert exit_code("--dataset", dataset, *options, *OLD) == 0
    history = json.loads(Path("run/history.json").read_text())
    assert history[-1]["epoch"] == 2
    assert set(history[-1]["valid_loss"]) == {"vocals"}
    if dataset != "synthetic":  # is scored on the way
        assert json.loads(Path("run/scores.json").read_text()).keys() == {"vocals"}
        assert re.search(r"SDR -?[0-9.]+ dB", Path("run/report.html").read_text())


def test_all_targets_on_shared_mixtures(data):
    options = [*TRACKS, "--interferer-files", "drums.wav", *TINY, "--epochs", 1, "--output", "run"]
    assert exit_code("--dataset", "trackfolder_fix", *options, "--bridged") == 0
    networks, config, _ = load_folder("run")
    assert networks.keys() == {"vocals", "drums"}
    assert config.architecture.bridged
    song = "data/valid/c/mixture.wav"
    assert _separate.main([song, "--model", "./run", "--outdir", "out", "--quiet"]) == 0


def test_shared_networks_are_trained_used_and_trained_further(data, caplog):
    assert train("--steps", "1", "--shared", "--pth") == 0
    assert "1.3.0 cannot use" not in caplog.text  # which gets complete networks
    assert load_network("run/drums.pth").state_dict().keys() == OpenUnmix().state_dict().keys()
    assert Path("run/shared.safetensors").is_file()
    song = "data/valid/c/mixture.wav"
    assert _separate.main([song, "--model", "./run", "--outdir", "out", "--quiet"]) == 0
    assert train("--steps", "1", "--model", "run", "--output", "both") == 0
    assert load_folder("both").config.architecture.shared
    further = ["--root", "data", "--model", "run", "--output", "one", "--target", "drums"]
    assert exit_code(*further, *SMALL, "--steps", 1) == 0
    assert load_folder("one").networks.keys() == {"drums"}


@pytest.mark.parametrize("loss", ["mse", "l1", "waveform-l1", "multi-domain"])
def test_loss_is_chosen_by_name(data, loss):
    assert train("--steps", 1, "--loss", loss) == 0
    assert json.loads(Path("run/vocals.json").read_text())["config"]["loss"] == loss


def test_mono_networks_are_trained_on_stereo_stems(data):
    assert train("--steps", 1, "--nb-channels", 1) == 0
    assert load_folder("run").networks["drums"].nb_channels == 1


def test_stems_that_are_no_targets_are_in_the_mixtures(data):
    args = _train.parser().parse_args(["--root", "data", "--target", "drums", *SMALL])
    config = settings(args)
    mixture, ((drums,), *_), *_ = load_data(args, config).train.batch(0)
    mixture = mixture[0]
    assert (mixture - drums).square().mean() > 1e-5  # the voice
    (song,) = load_validation_tracks(Path("data/valid"), ["drums"], RATE)
    whole, _ = soundfile.read("data/valid/c/mixture.wav", dtype="float32")
    torch.testing.assert_close(song.mixture.T, torch.from_numpy(whole), atol=1e-4, rtol=0)
    assert song.stacked.shape == (1, 2, RATE)
    assert train_one("drums") == 0
    assert set(json.loads(Path("run/history.json").read_text())[-1]["validation"]) == {"drums"}


def test_stems_can_be_left_out_and_added(data):
    Path("more").mkdir()
    soundfile.write("more/x.wav", noise(RATE, seed=9).T.numpy(), RATE)
    assert train("--steps", "1", "--extra", "drums=more", "--exclude", "a=drums,vocals") == 0
    told = json.loads(Path("run/vocals.json").read_text())["data"]["train"]
    assert told == "stems: 1 of vocals, 2 of drums"
    assert train("--steps", "2", "--extra", "drums=more=0.5", "--also", "data/valid=0.1") == 0
    told = json.loads(Path("run/vocals.json").read_text())["data"]["train"]
    assert told == "stems: 3 of vocals, 4 of drums"


def test_accompaniment_replaces_what_is_no_target(data):
    Path("music").mkdir()
    soundfile.write("music/x.wav", noise(RATE, seed=9).T.numpy(), RATE)
    options = ["--root", "data", "--targets", "vocals", "--seq-dur", "0.5"]
    args = _train.parser().parse_args([*options, "--accompaniment", "music=1"])
    mixer = load_data(args, settings(args)).train
    assert mixer.library.targets == ["vocals", "drums"]
    assert [stem.target for stem in mixer.library.accompaniment] == ["drums"]
    assert mixer.config.accompaniment == StemFolder("music", share=1.0)
    command = ["--root", "data", "--targets", "vocals", *SMALL, "--output", "run", "--steps", "1"]
    assert exit_code(*command, "--accompaniment", "music") == 0


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
    )
    assert changed == MixingConfig(
        levels="original",
        coherent=0.0,
        transpose=1.5,
        silent=0.1,
        effects={"vocals": EFFECTS["voice"], "drums": EFFECTS["band"]},
        transpose_source={"vocals": 4.0},
        exclude={"a": ("drums", "bass")},
    )


def test_mixing_is_recorded_and_compared_on_resume(data, caplog):
    assert train("--steps", "1", "--coherent", "0.2") == 0
    assert json.loads(Path("run/vocals.json").read_text())["config"]["mixing"]["coherent"] == 0.2
    assert load_state(state_file(Path("run")))["config"]["mixing"]["coherent"] == 0.2
    assert train("--steps", "2", "--coherent", "0.2", "--effects", "vocals=voice") == 0
    assert "effects is" in caplog.text
    caplog.clear()
    assert train("--steps", "3", "--coherent", "0.2", "--effects", "vocals=voice") == 0
    assert "steps is 3" in caplog.text
    assert "effects is" not in caplog.text


def test_models_of_some_steps_are_kept(data):
    assert train("--steps", "3", "--keep", "1", "2") == 0
    folders = [load_folder(folder) for folder in ("run/1", "run/2", "run")]
    first, second, last = (folder.networks["drums"].fc1.weight for folder in folders)
    assert not torch.equal(first, second)
    assert not torch.equal(second, last)
    assert train("--steps", "4", "--keep", "1", "2") == 0  # is no other setting


def test_weights_of_folders_are_numbers_at_the_end():
    assert mixing("--also", "a=0.5", "--also", "b").also == (
        StemFolder("a", weight=0.5),
        StemFolder("b"),
    )
    assert mixing("--also", "a=b").also == (StemFolder("a=b"),)
    assert mixing("--extra", "drums=a=b=25%").extra == (StemFolder("a=b", "drums", share=0.25),)


def test_data_are_only_checked_if_asked(data, capsys):
    assert train("--check") == 0
    assert "Dataset stems in data" in capsys.readouterr().out
    Path("data/train/a/vocals.wav").write_bytes(b"junk" * 99)
    assert train("--check") == 1
    assert "a/vocals.wav" in capsys.readouterr().out
    assert not Path("run").exists()


# Going on


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_step_and_the_same_command_goes_on(data, monkeypatch, capsys, number):
    assert train("--steps", "4", "--output", "straight") == 0
    update = Trainer.update

    def interrupted(self, batch):
        losses = update(self, batch)
        if self.step == 3:
            os.kill(os.getpid(), number)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        assert train("--steps", "4") == 130
    told = capsys.readouterr().err
    assert "interrupted; a checkpoint was written, and the same command resumes the run" in told
    assert load_state(state_file(Path("run")))["step"] == 3
    assert len(load_folder("run").networks) == 2
    assert train("--steps", "4") == 0
    assert torch.equal(weights("run"), weights("straight"))
    assert signal.getsignal(number) is not signal.SIG_IGN


def test_run_goes_on_in_another_folder(data):
    assert train("--steps", "2") == 0
    assert train("--steps", "4", "--output", "more", "--checkpoint", "run") == 0
    assert load_state(state_file(Path("more")))["step"] == 4
    assert load_state(state_file(Path("run")))["step"] == 2


def test_other_settings_do_not_fit_a_run_that_is_resumed(data, capsys):
    assert train("--steps", "1") == 0
    assert train("--steps", "1", "--hidden-size", "12") == 1
    assert "is of a run with hidden_size=8; use the same" in capsys.readouterr().err
    state_file(Path("run")).write_bytes(b"damaged")
    assert train("--steps", "1") == 1
    assert "training.safetensors is damaged; remove it" in capsys.readouterr().err


# Training a model further


@pytest.fixture
def model(tmp_path, tiny_network):
    """Save a model of another architecture than the default one."""
    folder = tmp_path / "model"
    for seed, target in enumerate(("vocals", "drums")):
        network = tiny_network(seed, 65, 2, 6, unidirectional=True, max_bin=40)
        save_network(folder, target, network)
    save_config(folder, SeparatorConfig(STFTConfig(128, 32, 22050.0)))
    return folder


def test_model_is_trained_further_with_its_architecture(data, model):
    # The result of 1.3.0 could not be loaded, as it got the sizes of the options.
    before = load_folder(model).networks
    options = ["--batch-size", 2, "--seq-dur", 0.5, "--no-cuda", "--output", "run", "--steps", 2]
    arguments = ["--root", "data", "--targets", "vocals", "drums", "--model", model, *options]
    assert exit_code(*arguments, "--lr", 1e-4, "--precision", "float32") == 0
    networks, config, _ = load_folder("run")
    assert astuple(config.stft) == (128, 32, 22050.0)
    for target, network in networks.items():
        assert (network.hidden_size, network.nb_bins) == (6, 40)
        assert network.unidirectional
        torch.testing.assert_close(network.input_mean, before[target].input_mean, rtol=0, atol=1e-2)
        assert not torch.equal(network.fc1.weight, before[target].fc1.weight)
    song = "data/valid/c/mixture.wav"
    assert _separate.main([song, "--model", "./run", "--outdir", "out", "--quiet"]) == 0


def test_networks_keep_their_own_powers_of_the_input(data, model, tiny_network, caplog):
    # The bundled model has networks of both kinds.
    network = tiny_network(7, 65, 2, 6, unidirectional=True, max_bin=40, compression=0.25)
    save_network(model, "drums", network)
    options = ["--batch-size", 2, "--seq-dur", 0.5, "--output", "run", "--model", model]
    for steps in (1, 2):  # the second one goes on with the first
        arguments = ["--root", "data", "--targets", "vocals", "drums", *options]
        assert exit_code(*arguments, "--steps", steps, "--pth") == 0
    assert "as it ignores --unidirectional, --compression" in caplog.text
    networks = load_folder("run").networks
    assert networks["vocals"].compression is None
    assert networks["drums"].compression == 0.25


def test_model_without_the_target_is_an_error(data, model, capsys):
    assert exit_code("--target", "bass", "--model", model, "--steps", 1, "--output", "run") == 1
    assert "no weights (.safetensors or .pth) of 'bass'; it has drums, vocals" in (
        capsys.readouterr().err
    )


def test_unidirectional_networks_are_read_back(data):
    assert train("--steps", "1", "--unidirectional", "--hidden-size", "7") == 0
    networks = load_folder("run").networks
    assert all(network.unidirectional for network in networks.values())
    assert networks["drums"].hidden_size == 7


def test_networks_that_see_compressed_magnitudes_are_read_back_and_trained_further(data, capsys):
    assert train("--steps", "1") == 0
    plain = load_folder("run").networks["drums"]
    assert train("--steps", "1", "--compression", "0.5") == 1
    assert "is of a run with compression=1.0; use the same" in capsys.readouterr().err
    assert train("--steps", "1", "--compression", "0.5", "--output", "root") == 0
    network = load_folder("root").networks["drums"]
    assert network.compression == 0.5
    # Roots of magnitudes vary less than these, so that their scale is another.
    assert not torch.allclose(network.input_scale, plain.input_scale, rtol=0.1)
    further = ["--output", "further", "--steps", 1, "--batch-size", 2, "--seq-dur", 0.5]
    arguments = ["--root", "data", "--targets", "drums", "--model", "./root", *further]
    assert exit_code(*arguments) == 0
    assert load_folder("further").networks["drums"].compression == 0.5


# What goes wrong


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("data").rename("gone"), "train: no such folder"),
        (lambda: Path("data/valid").rename("gone"), "valid: no such folder"),
        (lambda: (Path("data/train").rename("gone"), Path("data/train").mkdir()), "no track"),
        (lambda: [p.unlink() for p in Path("data").rglob("drums.*")], "['drums']"),
        (lambda: Path("data/train/a/vocals.wav").write_bytes(b"junk" * 99), "a/vocals.wav"),
        (lambda: Path("data/train/a/vocals.wav").write_bytes(b""), "a/vocals.wav' is empty"),
    ],
)
def test_bad_data_gets_one_line(data, capsys, spoil, message):
    spoil()
    assert train("--steps", "1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("umx-train: ")
    assert message in line


def test_file_that_ends_too_soon_is_named(data, capsys):
    path = Path("data/train/a/drums.wav")
    path.write_bytes(path.read_bytes()[:9000])
    options = [*TRACKS, "--interferer-files", "drums.wav", *TINY, "--epochs", 1, "--output", "run"]
    assert exit_code("--dataset", "trackfolder_fix", *options) == 1
    assert "a/drums.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seq-dur", "5"], "less than seq_duration=5"),
        (["--interferer-files", "flute.wav"], "there is no flute.wav"),
        (["--targets", "vocals", "flute"], "no source 'flute'; it has vocals, drums"),
    ],
)
def test_data_that_do_not_fit_are_named(data, capsys, arguments, message):
    options = [*TRACKS, "--interferer-files", "drums.wav", *TINY, "--epochs", 1, "--output", "run"]
    assert exit_code("--dataset", "trackfolder_fix", *options, *arguments) in (1, 2)
    assert message in capsys.readouterr().err


def test_loss_that_is_not_finite_is_told_with_what_to_do(data, capsys, monkeypatch):
    update = Trainer.update

    def diverged(self, batch):
        losses = update(self, batch)
        return {target: float("nan") for target in losses} if self.step == 3 else losses

    monkeypatch.setattr(Trainer, "update", diverged)
    assert train("--steps", "4", "--save-every", "1") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the loss of 'vocals' is nan in step 3" in last
    assert "lower --lr" in last
    assert load_state(state_file(Path("run")))["step"] == 2


def test_output_with_a_model_but_no_run_is_left_alone(data, model, capsys):
    assert train("--steps", "1", "--output", model) == 1
    assert "has a model (drums.safetensors), but no checkpoint" in capsys.readouterr().err
    assert train("--steps", "1", "--checkpoint", model) == 1
    assert "has no checkpoint of a run" in capsys.readouterr().err


def test_synthetic_songs_have_nothing_to_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code("--check") == 0
    assert "Dataset synthetic, generated" in capsys.readouterr().out


def test_files_that_version_1_cannot_use_are_told(data, caplog):
    assert train("--steps", "1", "--pth") == 0
    assert "1.3.0" not in caplog.text
    assert train("--steps", "1", "--pth", "--bridged", "--output", "other") == 0
    assert "1.3.0 cannot use the files of --pth, as it ignores --bridged" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "cores", "world", "expected"),
    [
        ([], 1, 1, 0),
        ([], 2, 1, 1),
        ([], 64, 1, 4),
        ([], 16, 8, 1),
        (["--root", "data"], 64, 1, 0),  # stems are in memory
        (["--nb-workers", "7"], 2, 1, 7),
    ],
)
def test_workers_follow_from_the_cores(monkeypatch, arguments, cores, world, expected):
    affinity = lambda _: set(range(cores))  # noqa: E731
    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)
    monkeypatch.setenv("WORLD_SIZE", str(world))
    assert _train._workers(_train.parser().parse_args(arguments)) == expected


def test_extra_folder_without_files_is_an_error(data, capsys):
    Path("nothing").mkdir()
    assert train("--steps", "1", "--extra", "drums=nothing") == 1
    assert "umx-train: nothing: no files found" in capsys.readouterr().err


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
        (["--nhop", "500"], "at least twice --nhop"),
        (["--nfft", "513"], "--nfft 513 must be even"),
        (["--extra", "drums"], "'drums' is not of the form NAME=VALUE"),
        (["--extra", "guitar=."], "--extra: ['guitar'] are not among"),
        (["--extra", "drums=data=120%"], "the shares of 'drums' in its folders are 120% together"),
        (["--transpose-source", "bass=1"], "--transpose-source: ['bass'] are not among"),
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


# Records


def test_description_of_a_network_has_the_keys_of_version_1(data):
    assert train("--steps", "2") == 0
    told = json.loads(Path("run/vocals.json").read_text())
    assert told["args"]["root"] == "data"
    assert told["args"]["hidden_size"] == 8
    assert told["environment"]["torch"] == torch.__version__
    assert told["commit"] == told["environment"]["commit"]
    assert len(told["train_loss_history"]) == 1


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


def test_report_can_be_written_later(data, capsys):
    assert train("--steps", "2") == 0
    for name in ("report.html", "curves.png"):
        Path("run", name).unlink()
    assert exit_code("--report", "--output", "run") == 0
    page = Path("run/report.html").read_text()
    assert "data:image/png;base64," in page
    assert "normalized-mse" in page
    assert Path("run/curves.png").read_bytes().startswith(b"\x89PNG")
    assert exit_code("--report", "--output", "nowhere") == 1
    assert "umx-train: nowhere has no records of a run" in capsys.readouterr().err


def test_run_needs_no_package_for_its_report(data, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert train("--steps", "1") == 0
    assert exit_code("--report", "--output", "run") == 1
    assert "install openunmix[train]" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_losses_sounds_and_pictures(data):
    pytest.importorskip("tensorboard", reason="needs openunmix[train]")
    images = pytest.importorskip("matplotlib.image", reason="needs openunmix[train]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train("--steps", "2", "--save-every", "1", "--tensorboard") == 0
    events = EventAccumulator("run/tensorboard").Reload()
    assert [event.step for event in events.Scalars("loss/vocals")] == [1, 2]
    assert {"validation/drums", "run/learning_rate"} <= set(events.Tags()["scalars"])
    wanted = {"c/vocals", "c/vocals, true", "c/drums", "c/drums, true"}
    assert set(events.Tags()["audio"]) == set(events.Tags()["images"]) == wanted
    pictures = [event.encoded_image_string for event in events.Images("c/drums, true")]
    assert len(pictures) == 1  # it does not change
    image = images.imread(io.BytesIO(pictures[0]))
    assert image.max() == 1
    assert image.mean() > 0.3  # noise is everywhere
    voice = events.Images("c/vocals, true")[0].encoded_image_string
    rows = images.imread(io.BytesIO(voice)).mean(axis=(1, 2))
    assert 130 < rows.argmax() < 200  # a tone of 400 Hz, a third of the way up from 40 Hz


# The old spelling


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
