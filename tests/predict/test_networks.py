"""Networks of others beside our own: whole, in segments, in batches that fit the memory."""

from __future__ import annotations

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels, difference
from torch import nn

from openunmix.model import OpenUnmix, Separator
from openunmix.predict.stream import StreamConfig, separate_waveform


class Gain(nn.Module):
    """A network that multiplies; it sees one frame at a time."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, magnitude):
        return self.gain * magnitude


class Neighbours(nn.Module):
    """A network that takes the mean over three frames on each side."""

    def forward(self, magnitude):
        return nn.functional.avg_pool2d(magnitude, (1, 7), stride=1, padding=(0, 3))


def gains(*values, **settings):
    """Make a separator of gains."""
    networks = {f"target{index}": Gain(value) for index, value in enumerate(values)}
    defaults = {"n_fft": 128, "n_hop": 32, "niter": 0}
    return Separator(networks, **{**defaults, **settings}).eval()


def test_segments_of_other_networks_see_their_neighbours():
    separator = Separator({"vocals": Neighbours()}, n_fft=128, n_hop=32, niter=0).eval()
    audio = synth.mixture(6000)
    exact = separate_waveform(separator, audio, StreamConfig(exact=True))
    for lookahead, level in ((2, -50), (3, -200)):
        config = StreamConfig(chunk=80, segment=20, lookahead=lookahead)
        error = decibels(separate_waveform(separator, audio, config) - exact, exact)
        assert (error < level) == (lookahead == 3)


@pytest.mark.parametrize(
    "config", [StreamConfig(), StreamConfig(20, 7, 2), StreamConfig(exact=True)]
)
def test_networks_of_others_are_used_as_they_are(config):
    audio = synth.mixture(5000)
    estimates = separate_waveform(gains(0.25, 0.5, wiener_win_len=20), audio, config)
    assert difference(estimates, torch.stack([0.25 * audio, 0.5 * audio])) < 1e-5


def test_networks_of_others_see_their_neighbours():
    networks = {"mean": Neighbours(), "scaled": Gain(0.5)}
    settings = {"niter": 1, "residual": True, "wiener_win_len": 20}
    separator = Separator(networks, n_fft=128, n_hop=32, **settings).eval()
    audio = synth.mixture(5000)
    config = StreamConfig(chunk=40, segment=14, lookahead=4)
    assert difference(separate_waveform(separator, audio, config), separator(audio)) < 1e-4


def test_own_networks_beside_others_work(tiny_network):
    networks = {"ours": tiny_network(), "theirs": Gain(0.5)}
    separator = Separator(networks, n_fft=128, n_hop=32, niter=1).eval()
    audio = synth.mixture(3000)
    assert difference(separate_waveform(separator, audio), separator(audio)) < 1e-5


def test_subclass_of_the_network_is_not_folded(tiny_network):
    class Louder(OpenUnmix):
        def forward(self, x):
            return 2 * super().forward(x)

    network = tiny_network()
    louder = Louder(65, 2, 8)
    louder.load_state_dict(network.state_dict())
    audio = synth.mixture(3000)
    once, twice = (
        separate_waveform(Separator({"a": n}, n_fft=128, n_hop=32).eval(), audio)
        for n in (network, louder.eval())
    )
    assert difference(twice, 2 * once) < 1e-5


def test_networks_in_training_are_refused(tiny_separator):
    separator = tiny_separator()
    separator.target_models["drums"].train()
    with pytest.raises(ValueError, match=r"evaluation mode; call \.eval\(\)"):
        separate_waveform(separator, synth.mixture(1000))
    with pytest.raises(ValueError, match="evaluation mode"):
        separate_waveform(gains(0.5).train(), synth.mixture(1000))


class Small(torch.nn.Module):
    """Half the magnitude, on a device with memory for two sequences."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, magnitude):
        self.batches.append(len(magnitude))
        if len(magnitude) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return 0.5 * magnitude


def test_batch_is_halved_until_it_fits_the_device():
    network = Small()
    separator = Separator({"a": network}, n_fft=128, n_hop=32, wiener_win_len=20).eval()
    audio = synth.mixture(5000)
    config = StreamConfig(chunk=140, segment=20, lookahead=4)
    estimates = separate_waveform(separator, audio, config)
    assert difference(estimates[0], 0.5 * audio) < 1e-5
    assert max(network.batches) > 4
    assert 2 in network.batches
