"""Training: it learns, and it goes on after an interruption as if there had been none."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import synth
import torch
from torch.utils.data import Dataset

from openunmix.errors import TrainingError
from openunmix.stft import stft
from openunmix.training.config import TrainingConfig
from openunmix.training.loop import (
    Trainer,
    fit,
    load_state,
    relative_error,
    save_state,
    update_average,
)

CONFIG = TrainingConfig(
    targets=("low", "high"),
    hidden_size=8,
    nb_layers=2,
    sample_rate=8000,
    n_fft=128,
    n_hop=64,
    bandwidth=3000.0,
    batch_size=2,
    steps=7,
    warmup=2,
    bfloat16=False,
    statistics_excerpts=4,
    validate_every=4,
    save_every=2,
)


class Tones(Dataset):
    """Mixtures of a low and a high tone, of which every one is different."""

    def __init__(self, fail_at=None):
        self.fail_at = fail_at

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        if index == self.fail_at:
            raise KeyboardInterrupt
        torch.rand(index % 3)  # even a data set that draws numbers must not matter
        low = synth.tone(1000, 200.0 + 10 * (index % 7))
        high = synth.tone(1000, 2000.0 + 50 * (index % 5), amplitude=0.4)
        return torch.stack([low, high]) + synth.noise(1000, seed=index, amplitude=0.01)


def scores(networks):
    """Validate, drawing numbers as a careless user might."""
    torch.rand(3)
    return {target: float(network.input_mean[0]) for target, network in networks.items()}


def same_state(one, other):
    """Tell whether two trainers are at the same point, to the last bit."""
    return all(
        torch.equal(value, theirs.state_dict()[name])
        for ours, theirs in ((one.networks, other.networks), (one.average, other.average))
        for name, value in ours.state_dict().items()
    )


def without_speed(history):
    """Leave out of the records what differs from run to run."""
    return [{k: v for k, v in record.items() if k != "steps_per_second"} for record in history]


# Resuming


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run from start to end."""
    return fit(CONFIG, Tones(), tmp_path_factory.mktemp("run"), scores)


@pytest.mark.parametrize("fail_at", [0, 3, 4, 5, 9, 13])
def test_interrupted_run_ends_like_one_that_was_not(tmp_path, uninterrupted, fail_at):
    # 1.3.0 repeated its last epoch, and drew other random numbers from then on.
    torch.manual_seed(fail_at)  # nobody's seed
    with pytest.raises(KeyboardInterrupt):
        fit(CONFIG, Tones(fail_at), tmp_path, scores)
    torch.rand(5)
    resumed = fit(CONFIG, Tones(), tmp_path, scores)
    assert resumed.step == uninterrupted.step == CONFIG.steps
    assert same_state(resumed, uninterrupted)
    assert without_speed(resumed.history) == without_speed(uninterrupted.history)


def test_run_interrupted_again_and_again_ends_the_same(tmp_path, uninterrupted):
    for fail_at in (5, 8, 12):
        with pytest.raises(KeyboardInterrupt):
            fit(CONFIG, Tones(fail_at), tmp_path, scores)
    assert same_state(fit(CONFIG, Tones(), tmp_path, scores), uninterrupted)


def test_finished_run_is_not_trained_further(tmp_path):
    first = fit(CONFIG, Tones(), tmp_path)
    again = fit(CONFIG, Tones(fail_at=0), tmp_path)
    assert again.step == CONFIG.steps
    assert same_state(first, again)
    assert again.history == first.history


def test_finished_run_goes_on_with_more_steps(tmp_path):
    fit(CONFIG, Tones(), tmp_path)
    longer = fit(replace(CONFIG, steps=9), Tones(fail_at=13), tmp_path)  # index 13 was seen before
    assert longer.step == 9
    assert [record["step"] for record in longer.history] == [2, 4, 6, 7, 8, 9]


def test_seed_decides_the_weights(tmp_path, uninterrupted):
    again = fit(CONFIG, Tones(), tmp_path / "again", scores)
    assert same_state(again, uninterrupted)
    other = fit(replace(CONFIG, seed=43), Tones(), tmp_path / "other", scores)
    assert not same_state(other, uninterrupted)


def test_random_numbers_of_the_caller_are_left_alone(tmp_path):
    state = torch.get_rng_state()
    fit(replace(CONFIG, steps=1), Tones(), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


# Records and checkpoints


def test_records_hold_mean_losses_since_the_last_one(tmp_path):
    trainer = Trainer(CONFIG, Tones())
    trainer.standardise()
    losses = [trainer.update(sources) for sources in trainer.batches()]
    history = fit(CONFIG, Tones(), tmp_path).history
    assert [record["step"] for record in history] == [2, 4, 6, 7]
    for record, steps in zip(history, ([0, 1], [2, 3], [4, 5], [6]), strict=True):
        for target in CONFIG.targets:
            mean = sum(losses[step][target] for step in steps) / len(steps)
            assert record["loss"][target] == pytest.approx(mean, rel=1e-6)


def test_validation_comes_as_often_as_asked_and_at_the_end(tmp_path):
    config = replace(CONFIG, validate_every=3, save_every=5)
    history = fit(config, Tones(), tmp_path, scores).history
    assert [record["step"] for record in history if "validation" in record] == [3, 6, 7]
    assert history[-1]["validation"].keys() == set(CONFIG.targets)


def test_validation_gets_the_average_in_evaluation_mode(tmp_path):
    seen = []

    def validate(networks):
        seen.append({n.input_scale[0].item() for n in networks.values()})
        assert not any(network.training for network in networks.values())
        return {}

    trainer = fit(replace(CONFIG, steps=4), Tones(), tmp_path, validate)
    assert seen == [{n.input_scale[0].item() for n in trainer.averages().values()}]


def test_history_is_readable_while_the_run_goes_on(tmp_path):
    trainer = fit(CONFIG, Tones(), tmp_path, scores)
    assert json.loads((tmp_path / "history.json").read_text()) == trainer.history
    assert {path.name for path in tmp_path.iterdir()} == {"training.chkpnt", "history.json"}


def test_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "training.chkpnt"
    save_state(path, {"step": 1})

    def full_disk(state, file):
        file.write_bytes(b"half a")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_state(path, {"step": 2})
    assert load_state(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path):
    class Broken(Tones):
        def __getitem__(self, index):
            return super().__getitem__(index) * (float("inf") if index == 9 else 1.0)

    with pytest.raises(TrainingError, match=r"step 5.*training\.chkpnt"):
        fit(CONFIG, Broken(), tmp_path)
    state = load_state(tmp_path / "training.chkpnt")
    assert state["step"] == 4
    weights = [value for value in state["networks"].values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in weights)


def test_checkpoint_that_holds_code_is_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = tmp_path / "training.chkpnt"
    torch.save({"step": Code()}, path)
    with pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights.only"):
        load_state(path)
    assert not (tmp_path / "executed").exists()


def test_checkpoint_of_other_networks_is_refused(tmp_path):
    fit(replace(CONFIG, steps=1), Tones(), tmp_path)
    with pytest.raises(RuntimeError, match="size mismatch"):
        fit(replace(CONFIG, hidden_size=12), Tones(), tmp_path)


# Learning


def test_loss_falls(tmp_path):
    config = replace(CONFIG, steps=60, learning_rate=0.01, save_every=10, average=0.9)
    history = fit(config, Tones(), tmp_path).history
    for target in config.targets:
        assert history[-1]["loss"][target] < 0.3 * history[0]["loss"][target]


def test_half_precision_learns_almost_the_same(tmp_path):
    full = fit(CONFIG, Tones(), tmp_path / "full").history
    half = fit(replace(CONFIG, bfloat16=True), Tones(), tmp_path / "half").history
    for ours, theirs in zip(half, full, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.05)
    assert half[-1]["loss"] != full[-1]["loss"]


@pytest.mark.parametrize("nb_channels", [1, 2])
def test_networks_are_those_of_the_settings(nb_channels):
    config = replace(CONFIG, nb_channels=nb_channels, unidirectional=True)
    trainer = Trainer(config, Tones())
    assert list(trainer.averages()) == ["low", "high"]
    for network in trainer.averages().values():
        assert (network.nb_channels, network.nb_output_bins) == (nb_channels, 65)
        assert network.nb_bins == 3000 * 128 // 8000 + 1
        assert (network.hidden_size, network.nb_layers) == (8, 2)
        assert network.unidirectional


def test_input_is_standardised_by_the_first_mixtures():
    trainer = Trainer(CONFIG, Tones())
    trainer.standardise()
    spectra = [stft(Tones()[i].sum(dim=0), 128, 64).abs().mean(dim=0) for i in range(4)]
    together = torch.cat(spectra, dim=-1)[:49]
    for network in [*trainer.networks.values(), *trainer.average.values()]:
        torch.testing.assert_close(-network.input_mean.detach(), together.mean(dim=-1))
        expected = together.std(dim=-1, correction=0)
        torch.testing.assert_close(1 / network.input_scale.detach(), expected, rtol=1e-4, atol=1e-6)


def test_every_weight_is_trained_and_gradients_are_clipped(monkeypatch):
    trainer = Trainer(replace(CONFIG, weight_decay=0.0, clip=1e-3, warmup=0), Tones())
    trainer.standardise()
    before = {n: p.detach().clone() for n, p in trainer.networks.named_parameters()}
    norms = []

    def step():
        for network in trainer.networks.values():
            gradients = [parameter.grad.flatten() for parameter in network.parameters()]
            norms.append(float(torch.cat(gradients).norm()))
        return original()

    original = trainer.optimizer.step
    monkeypatch.setattr(trainer.optimizer, "step", step)
    trainer.update(next(trainer.batches()))
    assert all(norm <= 1.001e-3 for norm in norms)
    assert len(norms) == 2
    for name, parameter in trainer.networks.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_targets_do_not_see_each_other():
    one, both = Trainer(replace(CONFIG, targets=("low",)), Tones()), Trainer(CONFIG, Tones())
    both.networks["low"].load_state_dict(one.networks["low"].state_dict())
    for batch in both.batches():
        assert both.update(batch)["low"] == pytest.approx(one.update(batch)["low"], rel=1e-5)


# Parts


def test_error_is_relative_to_the_power_of_each_mixture(generator):
    mixture = torch.rand(6, 3, 2, 5, generator=generator) + 0.1
    reference, estimate = 0.5 * mixture, 0.4 * mixture
    assert float(relative_error(reference, reference, mixture)) == 0
    assert float(relative_error(reference, estimate, mixture)) == pytest.approx(0.01, rel=2e-3)
    # Quiet excerpts count as much as loud ones: the first is 20 dB below the others.
    gains = torch.tensor([0.1, 1.0, 1.0])[None, :, None, None]
    quiet = [gains * magnitude for magnitude in (reference, estimate, mixture)]
    assert float(relative_error(*quiet)) == pytest.approx(0.01, rel=0.05)


def test_error_of_silence_is_finite():
    silence = torch.zeros(6, 3, 2, 5)
    assert float(relative_error(silence, silence, silence)) == 0


def test_average_moves_towards_the_weights(tiny_network):
    average, current = tiny_network(1), tiny_network(2)
    before = {name: value.clone() for name, value in average.state_dict().items()}
    current.bn1.num_batches_tracked.fill_(7)
    update_average(average, current, decay=0.75)
    after, target = average.state_dict(), current.state_dict()
    assert int(after.pop("bn1.num_batches_tracked")) == 7
    for name, value in after.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * target[name])
