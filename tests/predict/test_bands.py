"""BandUnmix in the engine: the same as the network itself, chunk by chunk."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels

from openunmix.model import BandArchitecture, Separator, share
from openunmix.predict._bands import BandNetworks
from openunmix.predict._networks import networks_of
from openunmix.predict.stream import StreamConfig, separate_blocks
from openunmix.transforms.fourier import STFTConfig

STFT = STFTConfig(256, 64, 8000.0)
SMALL = BandArchitecture(hidden_size=8, nb_layers=2)


def separator(shared=True, **changes):
    torch.manual_seed(3)
    networks = {name: replace(SMALL, **changes).build(STFT) for name in ("vocals", "drums")}
    if shared:
        share(networks.values())
    made = Separator(networks, n_fft=STFT.n_fft, n_hop=STFT.n_hop, sample_rate=8000.0, niter=1)
    made.freeze()
    return made


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_engine_computes_the_networks_of_bands(shared, stride):
    made = separator(shared, stride=stride)
    networks = networks_of(made, torch.float32, 4500, 2048)
    assert isinstance(networks, BandNetworks)
    assert len(networks.trunks) == (1 if shared else 2)
    mixture = synth.mixture(30000)
    (estimates,) = [torch.cat(list(separate_blocks(made, [mixture])), dim=-1)]
    expected = made(mixture[None])[0]
    assert decibels(estimates - expected, expected) < -100


@pytest.mark.parametrize("stride", [1, 4])
def test_chunks_agree_with_the_whole_signal(stride):
    """Windows of the filter of odd lengths end within a step of the network."""
    made, mixture = separator(stride=stride), synth.mixture(200000)
    made.wiener_win_len = 99
    blocks = list(mixture.split(7000, dim=-1))
    config = StreamConfig(chunk=300, first_chunk=300, lookahead=600)
    chunked = torch.cat(list(separate_blocks(made, blocks, config)), dim=-1)
    exact = torch.cat(list(separate_blocks(made, blocks, StreamConfig(exact=True))), dim=-1)
    expected = made(mixture[None])[0]
    assert decibels(exact - expected, expected) < -100
    assert decibels(chunked - expected, expected) < -60


def test_a_causal_network_needs_no_lookahead():
    made, mixture = separator(unidirectional=True), synth.mixture(100000)
    config = StreamConfig(chunk=300, first_chunk=300)
    chunked = torch.cat(list(separate_blocks(made, [mixture], config)), dim=-1)
    expected = made(mixture[None])[0]
    assert decibels(chunked - expected, expected) < -100
