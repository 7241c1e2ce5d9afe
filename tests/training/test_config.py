"""The settings of a run: written and read without loss, and the learning rate they give."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from openunmix.data import MixingConfig
from openunmix.model import Architecture
from openunmix.training.config import PRESETS, TrainingConfig


def test_settings_come_back_from_json():
    config = TrainingConfig(
        targets=("speech", "noise"),
        architecture=Architecture(hidden_size=12, bandwidth=7000.5),
        mixing=MixingConfig(coherent=0.5),
        keep=(3,),
        seed=7,
    )
    written = json.dumps(config.to_json())
    assert TrainingConfig.from_json(json.loads(written)) == config
    assert json.loads(written).keys() == asdict(config).keys()


def test_settings_not_given_have_their_defaults():
    assert TrainingConfig.from_json({"seed": 7}) == TrainingConfig(seed=7)
    assert TrainingConfig.from_json({}) == TrainingConfig()


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match=r"\['lr', 'sed'\].*seed"):
        TrainingConfig.from_json({**TrainingConfig().to_json(), "lr": 1, "sed": 12})
    with pytest.raises(ValueError, match=r"\['hiden_size'\].*hidden_size"):
        TrainingConfig.from_json({"architecture": {"hiden_size": 12}})


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().seed = 7


def test_length_of_a_run_is_steps_or_epochs():
    assert TrainingConfig(steps=50).total_steps(7) == 50
    assert TrainingConfig(steps=50, epochs=3).total_steps(7) == 21


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_written_and_read(name):
    assert (
        TrainingConfig.from_json(json.loads(json.dumps(PRESETS[name].to_json()))) == PRESETS[name]
    )
