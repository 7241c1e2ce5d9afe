"""The training loop: interrupted runs end like others; records and failures."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch
from helpers.toys import CONFIG, RATE, Tones

from openunmix.errors import AudioFileError, CheckpointError, TrainingError
from openunmix.pretrained.folder import load_folder
from openunmix.training import Trainer, fit
from openunmix.training.checkpoint import load_state, state_file
from openunmix.training.history import TIMINGS
from openunmix.training.parallel import step_threads

VALID = Tones(3, split="valid")


class Interrupted(Exception):
    """Not one of the errors that fit() knows: like the end of the process."""


def scores(networks):
    """Validate, drawing numbers as a careless user might."""
    torch.rand(3)
    return {target: float(network.input_mean[0]) for target, network in networks.items()}


def everything(trainer, folder):
    """All that must be the same after an interruption."""
    state = load_state(state_file(folder))
    for record in state["history"]["records"]:
        for name in TIMINGS:
            record.pop(name)
    return state


def assert_same(ours, theirs):
    """Compare two nested values, to the last bit."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


def stop_after(steps):
    """Return what asks to stop after some steps of this process."""
    done = []
    return lambda: bool(done.append(1)) or len(done) == steps


# Resuming

BRIDGED = replace(CONFIG.architecture, bridged=True)
KINDS = {
    "float32": {},
    "bf16": {"precision": "bf16", "ema_decay": 0.9},
    "fp16": {"precision": "fp16"},
    "augmented": {"augment": True},
    "bridged": {"architecture": BRIDGED, "loss": "multi-domain"},
    "plateau": {"schedule": "plateau", "decay_patience": 0, "patience": 50, "keep_best": True},
    "epochs": {"epochs": 3, "validate_every": 0, "save_every": 0, "schedule": "cosine"},
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return a function that makes a run from start to end."""
    made = {}

    def run(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("run")
            trainer = fit(replace(CONFIG, **KINDS[kind]), Tones(), folder, VALID, scores=scores)
            made[kind] = (everything(trainer, folder), folder)
        return made[kind]

    return run


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_stopped_run_ends_like_one_that_was_not(tmp_path, uninterrupted, kind, steps):
    # 1.3.0 repeated its last epoch, and drew other random numbers from then on.
    config = replace(CONFIG, **KINDS[kind])
    torch.manual_seed(steps)  # nobody's seed
    fit(config, Tones(), tmp_path, VALID, scores=scores, stop=stop_after(steps))
    assert load_state(state_file(tmp_path))["step"] == steps
    torch.rand(5)
    resumed = fit(config, Tones(), tmp_path, VALID, scores=scores)
    wanted, folder = uninterrupted(kind)
    assert_same(everything(resumed, tmp_path), wanted)
    for path in folder.glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_run_that_was_killed_ends_like_one_that_was_not(tmp_path, uninterrupted, count):
    seen = []

    def fail(epoch, index):
        seen.append(index)
        if len(seen) == count + CONFIG.statistics_excerpts:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(CONFIG, Tones(fail=fail), tmp_path, VALID, scores=scores)
    resumed = fit(CONFIG, Tones(), tmp_path, VALID, scores=scores)
    assert_same(everything(resumed, tmp_path), uninterrupted("float32")[0])


def test_run_stopped_again_and_again_ends_the_same(tmp_path, uninterrupted):
    for steps in (1, 2, 1, 1, 9):
        last = fit(CONFIG, Tones(), tmp_path, VALID, scores=scores, stop=stop_after(steps))
    assert_same(everything(last, tmp_path), uninterrupted("float32")[0])


def test_workers_do_not_change_what_is_drawn(tmp_path, uninterrupted):
    settings = {"scores": scores, "workers": 2}
    fit(CONFIG, Tones(), tmp_path, VALID, stop=stop_after(4), **settings)
    resumed = fit(CONFIG, Tones(), tmp_path, VALID, **settings)
    assert_same(everything(resumed, tmp_path), uninterrupted("float32")[0])


class Killed(BaseException):
    """The end of the process, which nothing can catch."""


@pytest.mark.parametrize("count", range(1, 22, 2))
def test_kill_between_two_files_leaves_a_run_to_resume(tmp_path, monkeypatch, uninterrupted, count):
    left = [count]
    replace_file = Path.replace

    def kill(self, target):
        left[0] -= 1
        if not left[0]:
            raise Killed
        return replace_file(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # nobody cleans up
        with pytest.raises(Killed):
            fit(CONFIG, Tones(), tmp_path, VALID, scores=scores)
    assert any(path.name.startswith(".") for path in tmp_path.rglob("*"))
    if (tmp_path / "low.safetensors").exists() and (tmp_path / "separator.json").exists():
        assert load_folder(tmp_path).networks  # what is there can be used
    resumed = fit(CONFIG, Tones(), tmp_path, VALID, scores=scores)
    assert_same(everything(resumed, tmp_path), uninterrupted("float32")[0])
    assert load_folder(tmp_path).networks.keys() == {"low", "high"}


def test_small_networks_are_trained_in_one_thread(tmp_path, monkeypatch):
    """Beside busy programs, threads that meet at every frame wait for the one that is not run."""
    seen, update = [], Trainer.update

    def watched(trainer, batch):
        seen.append(torch.get_num_threads())
        return update(trainer, batch)

    monkeypatch.setattr(Trainer, "update", watched)
    torch.set_num_threads(4)
    try:
        fit(replace(CONFIG, steps=1), Tones(), tmp_path)
        assert torch.get_num_threads() == 4
        for size, threads in [(1e6, 1), (40e6, 2), (150e6, 4)]:
            with step_threads(torch.device("cpu"), size):
                assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    assert seen == [1]


def test_finished_run_is_not_trained_further(tmp_path):
    fit(CONFIG, Tones(), tmp_path)
    before = everything(None, tmp_path)

    def fail(epoch, index):
        raise Interrupted

    fit(CONFIG, Tones(fail=fail), tmp_path)
    assert_same(everything(None, tmp_path), before)


def test_finished_run_goes_on_with_more_steps(tmp_path):
    fit(CONFIG, Tones(), tmp_path)
    longer = fit(replace(CONFIG, steps=9), Tones(), tmp_path)
    assert longer.step == 9
    history = json.loads((tmp_path / "history.json").read_text())
    assert [record["step"] for record in history] == [2, 4, 6, 7, 8, 9]


def test_seed_decides_the_weights(tmp_path, uninterrupted):
    wanted = uninterrupted("float32")[0]["networks"]
    again = fit(CONFIG, Tones(), tmp_path / "again").networks.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in again.items())
    other = fit(replace(CONFIG, seed=43), Tones(), tmp_path / "other").networks.state_dict()
    assert not torch.equal(other["low.fc1.weight"], wanted["low.fc1.weight"])


def test_random_numbers_of_the_caller_are_left_alone(tmp_path):
    state = torch.get_rng_state()
    fit(replace(CONFIG, steps=1), Tones(), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_networks_of_the_caller_are_left_alone(tmp_path, tiny_network):
    networks = {"low": tiny_network(1), "high": tiny_network(2)}
    before = networks["low"].fc1.weight.detach().clone()
    trainer = fit(
        replace(CONFIG, architecture=replace(CONFIG.architecture, nb_layers=3)),
        Tones(),
        tmp_path,
        networks=networks,
    )
    assert torch.equal(networks["low"].fc1.weight, before)
    assert not torch.equal(trainer.networks["low"].fc1.weight, before)


# Records


def test_records_hold_mean_losses_since_the_last_one(tmp_path):
    losses = []
    fit(CONFIG, Tones(), tmp_path, VALID, on_step=lambda progress: losses.append(progress.losses))
    history = json.loads((tmp_path / "history.json").read_text())
    assert [record["step"] for record in history] == [2, 4, 6, 7]
    assert [record["epoch"] for record in history] == [0, 1, 2, 2]
    for record, steps in zip(history, ([0, 1], [2, 3], [4, 5], [6]), strict=True):
        for target in CONFIG.targets:
            mean = sum(losses[step][target] for step in steps) / len(steps)
            assert record["loss"][target] == pytest.approx(mean, rel=1e-6)
        assert 0 < record["steps_per_second"] < 10_000
        assert 0 < record["data_loading"] < 1


def test_validation_comes_as_often_as_asked_and_at_the_end(tmp_path):
    config = replace(CONFIG, validate_every=3, save_every=5)
    fit(config, Tones(), tmp_path, VALID, scores=scores)
    history = json.loads((tmp_path / "history.json").read_text())
    validated = [record for record in history if "validation" in record]
    assert [record["step"] for record in validated] == [3, 6, 7]
    assert all(record["valid_loss"].keys() == {"low", "high"} for record in validated)


def test_validation_gets_the_average_in_evaluation_mode(tmp_path):
    seen = []

    def validate(networks):
        seen.append({n.input_scale[0].item() for n in networks.values()})
        assert not any(network.training for network in networks.values())
        return {}

    trainer = fit(replace(CONFIG, steps=4), Tones(), tmp_path, scores=validate)
    assert seen == [{n.input_scale[0].item() for n in trainer.ema_networks().values()}]


def test_model_is_the_average_and_ready_to_use(tmp_path):
    trainer = fit(CONFIG, Tones(), tmp_path)
    networks, config, _ = load_folder(tmp_path)
    assert astuple(config.stft) == (128, 64, RATE)
    for target, network in trainer.ema_networks().items():
        assert_same(dict(networks[target].state_dict()), dict(network.state_dict()))


def test_best_model_is_kept_if_asked(tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(
        "openunmix.training.loop.validation_loss", lambda *_: {"low": next(losses), "high": 0.0}
    )
    steps = []
    config = replace(CONFIG, steps=6, validate_every=2, save_every=1, keep_best=True)
    fit(config, Tones(), tmp_path, VALID, on_record=lambda *_: steps.append(model_step(tmp_path)))
    assert steps == [1, 2, 2, 4, 4, 4]  # the first because it is better than none
    described = json.loads((tmp_path / "low.json").read_text())
    assert (described["best_loss"], described["best_epoch"]) == (0.5, 1)


def model_step(folder):
    """Return the step after which the model was written."""
    return json.loads((folder / "low.json").read_text())["step"]


def test_run_ends_early_when_the_validation_loss_no_longer_falls(tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.0, 9.0, 9.0])
    monkeypatch.setattr("openunmix.training.loop.validation_loss", lambda *_: {"low": next(losses)})
    config = replace(CONFIG, steps=20, validate_every=1, patience=2)
    assert fit(config, Tones(), tmp_path, VALID).step == 4
    assert fit(config, Tones(), tmp_path, VALID).step == 4  # again, nothing
    assert fit(replace(config, patience=4), Tones(), tmp_path, VALID).step == 6


def test_files_are_also_those_of_version_1_if_asked(tmp_path):
    fit(replace(CONFIG, epochs=2), Tones(), tmp_path, VALID, legacy_files=True)
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"history.json", "separator.json"} | {
        f"{t}{end}" for t in ("low", "high") for end in (".json", ".pth", ".chkpnt", ".safetensors")
    }
    state = torch.load(tmp_path / "low.chkpnt", weights_only=True)
    assert state.keys() == {"epoch", "state_dict", "best_loss", "optimizer", "scheduler"}
    weights = torch.load(tmp_path / "low.pth", weights_only=True)
    assert "fc1.weight" in weights
    described = json.loads((tmp_path / "low.json").read_text())
    keys = "epochs_trained best_loss best_epoch train_loss_history valid_loss_history"
    assert described.keys() >= {*keys.split(), "train_time_history", "num_bad_epochs", "args"}
    assert described["epochs_trained"] == 2


# Failures


def test_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    fit(CONFIG, Tones(), tmp_path, stop=stop_after(2))
    before = everything(None, tmp_path)
    write = Path.write_bytes

    def full_disk(self, content):
        if "training" in self.name:
            write(self, content[:100])
            raise OSError(28, "No space left on device")
        return write(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(
            TrainingError, match=r"of step 4 cannot be written \(No space.*free some space"
        ):
            fit(CONFIG, Tones(), tmp_path)
    assert_same(everything(None, tmp_path), before)
    assert list((tmp_path / "checkpoint").iterdir()) == [state_file(tmp_path)]


def test_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path):
    class Broken(Tones):
        def sources(self, index):
            factor = float("inf") if (self.epoch, index) == (1, 3) else 1.0
            return {name: source * factor for name, source in super().sources(index).items()}

    with pytest.raises(TrainingError, match=r"step [456] \(items .*3.* of epoch 1\).*lower --lr"):
        fit(replace(CONFIG, save_every=1), Broken(), tmp_path)
    state = load_state(state_file(tmp_path))
    assert state["step"] in (3, 4, 5)
    weights = [value for value in state["networks"].values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in weights)
    assert load_folder(tmp_path).networks


@pytest.mark.parametrize("excerpts", [4, 100])
def test_silent_target_is_refused_if_enough_was_heard(tmp_path, caplog, excerpts):
    class Mute(Tones):
        def sources(self, index):
            sources = super().sources(index)
            return {**sources, "high": 0 * sources["high"]}

    config = replace(CONFIG, steps=1, statistics_excerpts=excerpts)
    told = f"high: silent in all of {excerpts} training excerpts; umx-train --check shows more"
    if excerpts == 4:  # in so few it may be chance
        assert fit(config, Mute(), tmp_path).step == 1
        assert told in caplog.text
    else:
        with pytest.raises(TrainingError, match=told):
            fit(config, Mute(100), tmp_path)
        assert not tmp_path.joinpath("low.safetensors").exists()


def test_silent_mixtures_are_refused(tmp_path):
    class Mute(Tones):
        def sources(self, index):
            return {name: 0 * source for name, source in super().sources(index).items()}

    with pytest.raises(TrainingError, match="training mixtures are silent"):
        fit(CONFIG, Mute(), tmp_path)


def test_validation_loss_that_is_not_finite_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("openunmix.training.loop.validation_loss", lambda *_: {"low": float("nan")})
    with pytest.raises(TrainingError, match="validation loss is nan after step 4"):
        fit(CONFIG, Tones(), tmp_path, VALID)


@pytest.mark.parametrize("workers", [0, 2])
def test_file_that_breaks_is_named_and_the_run_goes_on_later(tmp_path, uninterrupted, workers):
    def fail(epoch, index):
        if (epoch, index) == (1, 3):
            raise AudioFileError("song/vocals.wav is damaged")

    with pytest.raises(AudioFileError, match=r"^song/vocals.wav is damaged$"):
        fit(CONFIG, Tones(fail=fail), tmp_path, VALID, scores=scores, workers=workers)
    assert load_state(state_file(tmp_path))["step"] >= 3
    resumed = fit(CONFIG, Tones(), tmp_path, VALID, scores=scores)
    assert_same(everything(resumed, tmp_path), uninterrupted("float32")[0])


def test_data_without_items_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="dataset is empty"):
        fit(CONFIG, Tones(0), tmp_path)


def test_checkpoint_of_other_networks_is_refused(tmp_path):
    fit(replace(CONFIG, steps=1), Tones(), tmp_path)
    other = replace(CONFIG, architecture=replace(CONFIG.architecture, hidden_size=12))
    with pytest.raises(CheckpointError, match="is of a run with hidden_size=8; use the same"):
        fit(other, Tones(), tmp_path)


def test_changed_settings_of_a_resumed_run_are_told(tmp_path, caplog):
    fit(replace(CONFIG, steps=1), Tones(), tmp_path)
    fit(replace(CONFIG, learning_rate=0.5), Tones(), tmp_path)
    assert "learning_rate is 0.5 now, and was 0.001" in caplog.text
