"""The command ``umx-train``: runs, resuming, fine-tuning, records."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from helpers.train_command import SMALL, TINY, TRACKS, exit_code, train, weights

from openunmix._signals import ENDING
from openunmix.cli import _separate, _train
from openunmix.model import BandArchitecture, OpenUnmix
from openunmix.pretrained.folder import (
    SeparatorConfig,
    load_folder,
    load_network,
    save_config,
    save_network,
)
from openunmix.training.checkpoint import load_state, state_file
from openunmix.training.trainer import Trainer
from openunmix.transforms.fourier import STFTConfig


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


def test_a_network_of_bands_is_trained_used_and_trained_further(data):
    bands = ["--architecture", "BandUnmix", "--shared", "--nb-layers", 1, "--dropout", 0.1]
    assert train("--steps", "1", *bands) == 0
    networks, config, _ = load_folder("run")
    assert config.architecture == BandArchitecture(8, 1, False, 16000.0, dropout=0.1, shared=True)
    song = "data/valid/c/mixture.wav"
    assert _separate.main([song, "--model", "./run", "--outdir", "out", "--quiet"]) == 0
    further = ("--steps", "1", "--model", "run", "--output", "further", "--dropout", "0.2")
    assert train(*further) == 0
    assert load_folder("further").config.architecture.dropout == 0.2
    assert load_folder("further").networks["drums"].trunk_layers == networks["drums"].trunk_layers


@pytest.mark.parametrize("loss", ["mse", "l1", "waveform-l1", "multi-domain"])
def test_loss_is_chosen_by_name(data, loss):
    assert train("--steps", 1, "--loss", loss) == 0
    assert json.loads(Path("run/vocals.json").read_text())["config"]["loss"] == loss


def test_mono_networks_are_trained_on_stereo_stems(data):
    assert train("--steps", 1, "--nb-channels", 1) == 0
    assert load_folder("run").networks["drums"].nb_channels == 1


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


@pytest.mark.parametrize("number", ENDING)
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
        assert train("--steps", "4") == 128 + number
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


def test_description_of_a_network_has_the_keys_of_version_1(data):
    assert train("--steps", "2") == 0
    told = json.loads(Path("run/vocals.json").read_text())
    assert told["args"]["root"] == "data"
    assert told["args"]["hidden_size"] == 8
    assert told["environment"]["torch"] == torch.__version__
    assert told["commit"] == told["environment"]["commit"]
    assert len(told["train_loss_history"]) == 1


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
