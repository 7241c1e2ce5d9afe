"""The settings of a run: written and read without loss, and the learning rate they give."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from openunmix.training.config import TrainingConfig


def test_settings_come_back_from_json():
    config = TrainingConfig(targets=("speech", "noise"), hidden_size=12, bandwidth=7000.5, seed=7)
    written = json.dumps(config.to_json())
    assert TrainingConfig.from_json(json.loads(written)) == config
    assert json.loads(written).keys() == asdict(config).keys()


def test_settings_not_given_have_their_defaults():
    assert TrainingConfig.from_json({"seed": 7}) == TrainingConfig(seed=7)
    assert TrainingConfig.from_json({}) == TrainingConfig()


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match=r"\['hiden_size', 'lr'\].*hidden_size"):
        TrainingConfig.from_json({**TrainingConfig().to_json(), "lr": 1, "hiden_size": 12})


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().seed = 7


def test_learning_rate_rises_stays_and_falls():
    config = TrainingConfig(steps=100, learning_rate=0.5, warmup=10, cooldown=0.2)
    rates = [config.learning_rate_at(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[10:81] == [0.5] * 71
    assert rates[80:] == pytest.approx([0.5 - 0.025 * step for step in range(20)])
    assert config.learning_rate_at(100) == 0


def test_learning_rate_can_be_constant():
    config = TrainingConfig(steps=50, warmup=0, cooldown=0.0)
    assert {config.learning_rate_at(step) for step in range(50)} == {config.learning_rate}
