"""Steps of training: losses fall, in every precision, and excerpts follow from the step."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from helpers import sounds as synth
from helpers.toys import CONFIG, RATE, Tones

from openunmix.data import Mixer, MixingConfig
from openunmix.data.stems import Stem, StemLibrary
from openunmix.training import fit
from openunmix.training.trainer import Trainer


@pytest.mark.parametrize("loss", ["mse", "normalized-mse", "l1", "waveform-l1", "waveform-mse"])
def test_loss_falls(tmp_path, loss):
    config = replace(CONFIG, steps=40, learning_rate=0.02, save_every=10, ema_decay=0.9, loss=loss)
    fit(config, Tones(100), tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    for target in config.targets:
        assert history[-1]["loss"][target] < 0.5 * history[0]["loss"][target]


@pytest.mark.parametrize("bridged", [False, True])
def test_multi_domain_loss_falls(tmp_path, bridged):
    config = replace(CONFIG, steps=60, learning_rate=0.01, save_every=10, ema_decay=0.9)
    architecture = replace(config.architecture, bridged=bridged)
    config = replace(config, architecture=architecture, loss="multi-domain")
    fit(config, Tones(100), tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    for target in config.targets:  # -10 would be perfect
        assert history[-1]["loss"][target] < history[0]["loss"][target] - 1


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(("precision", "rel"), [("bf16", 0.05), ("fp16", 0.2)])
def test_half_precision_learns_almost_the_same(tmp_path, precision, rel):
    full, half = [], []
    fit(CONFIG, Tones(), tmp_path / "a", on_step=lambda p: full.append(p.losses))
    config = replace(CONFIG, precision=precision)
    fit(config, Tones(), tmp_path / "b", on_step=lambda p: half.append(p.losses))
    for ours, theirs in zip(half, full, strict=True):
        assert ours == pytest.approx(theirs, rel=rel)
    assert half[-1] != full[-1]


def test_mixtures_of_stems_follow_from_the_step(tmp_path):
    # They must not depend on how long the run is, which may be changed on the way.
    waveform = (3000 * synth.noise(4000)).to(torch.int16)
    stems = [Stem("a", target, waveform, 0.1) for target in CONFIG.targets]
    library = StemLibrary(stems, CONFIG.targets)
    mixer = Mixer(library, MixingConfig(), CONFIG.targets, 1000, CONFIG.batch_size, RATE)
    drawn = []
    update = Trainer.update

    def look(self, batch):
        drawn.append((batch.items, batch.mixture))
        return update(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", look)
        fit(replace(CONFIG, steps=3), mixer, tmp_path / "c")
        fit(replace(CONFIG, steps=5), mixer, tmp_path / "c")
    assert [items for items, _ in drawn] == [[2 * step, 2 * step + 1] for step in range(5)]
    for step, (_, mixture) in enumerate(drawn):
        assert torch.equal(mixture, mixer.batch(step).mixture)


def test_no_two_epochs_have_the_same_excerpts(tmp_path):
    mixtures = []
    update = Trainer.update

    def look(self, batch):
        mixtures.extend(batch.mixture)
        return update(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", look)
        fit(replace(CONFIG, steps=6), Tones(), tmp_path)
    assert len({tuple(mixture.flatten().tolist()[:50]) for mixture in mixtures}) == 12
