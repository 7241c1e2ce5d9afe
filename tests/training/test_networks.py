"""Networks to train, new and of a model."""

from __future__ import annotations

import pytest

from openunmix.model import Architecture
from openunmix.training.config import TrainingConfig
from openunmix.training.networks import new_networks, pretrained_networks
from openunmix.transforms.fourier import STFTConfig


@pytest.mark.parametrize(("layers", "expected"), [(2, 0.1), (1, 0.0)])
def test_new_networks_drop_out_what_is_asked(layers, expected):
    config = TrainingConfig(
        ("vocals",), Architecture(8, layers, dropout=0.1), STFTConfig(n_fft=512)
    )
    assert new_networks(config)["vocals"].lstm.dropout == expected


def test_networks_of_a_model_drop_out_what_is_asked():
    networks, _ = pretrained_networks(
        "umxs", TrainingConfig(("vocals",), Architecture(dropout=0.1))
    )
    assert networks["vocals"].lstm.dropout == 0.1
