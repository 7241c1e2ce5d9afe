"""Learning rates."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from openunmix.training import TrainingConfig
from openunmix.training.schedules import Schedule, scheduled_rate

CONFIG = TrainingConfig(learning_rate=2.0, warmup=10, cooldown=0.25)


def rates(schedule, steps=100):
    """Return the learning rate of every step."""
    config = replace(CONFIG, schedule=schedule)
    return [scheduled_rate(config, step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "trapezoid", "plateau"])
def test_rate_rises_first_and_never_beyond_its_peak(schedule):
    found = rates(schedule)
    assert found[:9] == pytest.approx([0.2 * (step + 1) for step in range(9)])
    assert max(found) <= 2.0
    assert min(found) > 0


def test_trapezoid_falls_in_the_last_part():
    found = rates("trapezoid")
    assert set(found[10:75]) == {2.0}
    assert found[75:] == pytest.approx([2 * (100 - step) / 25 for step in range(75, 100)])


def test_cosine_falls_along_half_a_period():
    found = rates("cosine")
    assert found[50] == pytest.approx(1.0)
    assert all(later < earlier for earlier, later in pairwise(found[20:]))


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_others_stay(schedule):
    assert set(rates(schedule)[10:]) == {2.0}


def test_plateau_decays_as_that_of_torch():
    config = replace(CONFIG, schedule="plateau", warmup=0, decay_patience=3, decay_factor=0.3)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=9.0)
    schedule = Schedule(config, optimizer, 1000)
    reference_optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference_optimizer, factor=0.3, patience=3, cooldown=10
    )
    losses = [1.0, 0.5, *[0.6] * 30, 0.4, *[0.45] * 30]
    found = []
    for step, loss in enumerate(losses):
        if step == 17:  # an interruption
            state = schedule.state_dict()
            schedule = Schedule(config, optimizer, 1000)
            schedule.load_state_dict(state)
        schedule.set_rate(step)
        assert schedule.rate == pytest.approx(reference_optimizer.param_groups[0]["lr"])
        found.append(schedule.rate)
        schedule.step_plateau(loss)
        reference.step(loss)
    assert len(set(found)) > 3


def test_validation_changes_no_other_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=9.0)
    config = replace(CONFIG, schedule="constant", decay_patience=0)
    schedule = Schedule(config, optimizer, 100)
    for _ in range(20):
        schedule.step_plateau(1.0)
    schedule.set_rate(50)
    assert optimizer.param_groups[0]["lr"] == 2.0
