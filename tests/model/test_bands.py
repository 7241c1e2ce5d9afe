"""The network of bands: bands, causality, trunk; folder, engine and trainer take it as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import sounds as synth
from helpers.checks import decibels
from helpers.toys import CONFIG, Tones

from openunmix.model import BandArchitecture, Separator, share
from openunmix.model.bands import band_groups
from openunmix.model.sharing import masks
from openunmix.predict import separate
from openunmix.pretrained import load_separator
from openunmix.pretrained.config import SeparatorConfig
from openunmix.pretrained.folder import load_folder, save_folder
from openunmix.training import fit
from openunmix.transforms.fourier import STFTConfig

STFT = STFTConfig(512, 256, 8000.0)
SMALL = BandArchitecture(hidden_size=8, nb_layers=2)


def network(architecture=SMALL, seed=1):
    torch.manual_seed(seed)
    return architecture.build(STFT).eval()


def magnitude(frames=20, batch=2):
    return torch.rand(frames, batch, 2, STFT.bins, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("bins", [1, 7, 8, 9, 257, 385, 513, 2049, 4097])
def test_bands_are_narrow_first_and_cover_all_bins(bins):
    groups = band_groups(bins)
    assert sum(bands * width for bands, width in groups) == bins
    assert groups[0] == (min(12, bins // 8), 8) or bins < 8


def test_a_network_for_music_has_37_bands_and_few_weights():
    networks = [BandArchitecture().build(STFTConfig()) for _ in range(4)]
    share(networks)
    weights = {p for net in networks for p in net.parameters()}
    assert sum(bands for bands, _ in networks[0].groups) == 37
    assert sum(p.numel() for p in weights) < 3e6


def test_the_mask_has_the_shape_of_the_input_and_lies_between_0_and_1():
    x = magnitude()
    mask = network().mask(x)
    assert mask.shape == x.shape
    assert 0 < mask.min() < mask.max() < 1


def test_items_of_a_batch_do_not_influence_each_other():
    x = magnitude(batch=3)
    torch.testing.assert_close(network().mask(x)[:, 1:2], network().mask(x[:, 1:2]))


@pytest.mark.parametrize("frames", [1, 2, 3, 20])
@pytest.mark.parametrize("shared", [True, False])
def test_steps_of_several_frames_give_a_mask_for_each_of_them(frames, shared):
    nets = [network(replace(SMALL, stride=3), seed) for seed in (1, 2)]
    if shared:
        share(nets)
    x = magnitude(frames)
    for mask in masks(nets, x):
        assert mask.shape == x.shape
        assert frames == 1 or (mask[0] != mask[1]).any()


def test_a_stride_below_1_is_refused():
    with pytest.raises(ValueError, match="stride=0 must be 1 or more"):
        BandArchitecture(stride=0)


@pytest.mark.parametrize("unidirectional", [True, False])
def test_only_a_unidirectional_network_is_causal(unidirectional):
    net = network(replace(SMALL, unidirectional=unidirectional))
    x = magnitude()
    changed = x.clone()
    changed[12:] = 0
    difference = (net.mask(changed) - net.mask(x)).abs().amax(dim=(1, 2, 3))
    assert (difference[12:] > 0).all()
    assert bool((difference[:12] > 0).any()) is not unidirectional


def test_the_level_of_the_input_does_not_change_the_mask():
    net, x = network(), magnitude() + 0.1
    torch.testing.assert_close(net.mask(100 * x), net.mask(x), atol=1e-4, rtol=1e-3)


def test_bins_above_the_bandwidth_are_not_seen_but_masked():
    net = network(replace(SMALL, bandwidth=2000.0))
    x = magnitude()
    changed = x.clone()
    changed[..., 200:] *= 3
    torch.testing.assert_close(net.mask(changed), net.mask(x))
    assert net.mask(x)[..., 200:].std() > 0


def test_a_dropped_band_leaves_the_features_of_the_others():
    net = network(replace(SMALL, dropout=0.5))
    x = magnitude(batch=40)
    kept = net.train().encode(x) / net.eval().encode(x)
    assert sorted(kept.round(decimals=3).unique().tolist()) == [0, 2]
    assert (kept.amax(dim=(0, 3)) == kept.amin(dim=(0, 3))).all()


def test_a_shared_trunk_is_computed_once(monkeypatch):
    networks = [network(seed=1), network(seed=2)]
    apart = masks(networks, magnitude())
    share(networks)
    calls = []
    recur = type(networks[0]).recur
    monkeypatch.setattr(
        type(networks[0]), "recur", lambda self, x: calls.append(1) or recur(self, x)
    )
    together = masks(networks, magnitude())
    assert len(calls) == 1
    torch.testing.assert_close(together[0], apart[0])
    assert (together[1] - apart[1]).abs().max() > 0


def test_a_folder_of_shared_networks_separates_as_before(tmp_path):
    architecture = replace(SMALL, shared=True)
    networks = {"vocals": network(architecture, 1), "drums": network(architecture, 2)}
    share(networks.values())
    save_folder(tmp_path / "m", networks, SeparatorConfig(STFT, architecture=architecture))
    found = load_folder(tmp_path / "m").networks
    assert found["drums"].trunk == found["vocals"].trunk
    assert found["drums"].architecture == architecture
    mixture = synth.mixture(40000)
    settings = {"n_fft": STFT.n_fft, "n_hop": STFT.n_hop, "sample_rate": 8000.0, "niter": 1}
    before = Separator(networks, **settings).eval()
    estimates = separate(mixture, 8000, separator=before)
    again = separate(mixture, 8000, separator=load_separator(tmp_path / "m", niter=1))
    whole = before.to_dict(before(mixture[None])[0].detach())
    for target, estimate in again.items():
        torch.testing.assert_close(estimate, estimates[target])
        assert decibels(estimate[0] - whole[target], whole[target]) < -60


def test_training_lowers_the_loss_of_a_shared_trunk(tmp_path):
    config = replace(CONFIG, architecture=replace(SMALL, shared=True), steps=30, learning_rate=3e-3)
    losses = []
    fit(config, Tones(), tmp_path, on_step=lambda progress: losses.append(progress.losses))
    first, last = (sum(sum(step.values()) for step in part) for part in (losses[:5], losses[-5:]))
    assert last < 0.8 * first
