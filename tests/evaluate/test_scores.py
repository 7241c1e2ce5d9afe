"""Scores of one track: what is compared, what is left out, how it is stored."""

from __future__ import annotations

import json
import math
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from helpers import sounds as synth
from helpers.evaluation import RATE, TARGETS, stems
from helpers.museval_reference import museval_package

from openunmix.evaluate.scores import TrackScores, score_estimates


def test_accompaniment_is_compared_with_vocals_only(monkeypatch):
    museval = museval_package(monkeypatch)
    names = ["vocals", "drums", "bass", "other"]
    true = {name: synth.noise(RATE, 1, seed) for seed, name in enumerate(names)}
    true["accompaniment"] = true["drums"] + true["bass"] + true["other"]
    made = {name: source + synth.noise(RATE, 1, 50) for name, source in true.items()}
    track = types.SimpleNamespace(
        name="song",
        rate=RATE,
        subset="test",
        targets=OrderedDict(
            (name, types.SimpleNamespace(audio=source.T.double().numpy()))
            for name, source in true.items()
        ),
    )
    theirs = museval.eval_mus_track(track, {k: v.T.double().numpy() for k, v in made.items()})
    ours = score_estimates(true, made, RATE)
    expected = {target["name"]: target["frames"] for target in theirs.scores["targets"]}
    assert set(ours.frames) == set(expected)
    for name, frames in expected.items():
        for metric, values in ours.frames[name].items():
            assert values == pytest.approx([float(f["metrics"][metric]) for f in frames], abs=1e-4)


def test_frames_with_silence_are_nan_in_the_file(tmp_path):
    true = {name: torch.cat([stem, stem], dim=-1) for name, stem in stems(samples=RATE).items()}
    true["vocals"][:, :RATE] = 0
    made = {name: stem + synth.noise(2 * RATE, seed=5) for name, stem in true.items()}
    scores = score_estimates(true, made, RATE)
    assert math.isnan(scores.frames["drums"]["SDR"][0])
    assert math.isfinite(scores.median("drums", "SDR"))
    scores.save(tmp_path / "song.json")
    loaded = TrackScores.load(tmp_path / "song.json")
    np.testing.assert_allclose(
        loaded.frames["drums"]["SIR"], scores.frames["drums"]["SIR"], atol=1e-5
    )
    assert loaded.whole_track["drums"]["si_sdr"] == pytest.approx(
        scores.whole_track["drums"]["si_sdr"], abs=1e-4
    )


def test_undefined_and_infinite_scores_are_stored_as_strict_json(tmp_path, monkeypatch):
    """A perfect vocal with a silent second: museval has nan and inf, which JSON does not."""
    museval = museval_package(monkeypatch)
    values = [math.nan, math.inf, -math.inf, 3.0, math.inf]
    frames = {"vocals": dict.fromkeys(("SDR", "ISR", "SIR", "SAR"), values)}
    whole = {"vocals": {"sdr_mdx21": math.inf, "si_sdr": math.nan}}
    scores = TrackScores('a "SDR": Infinity', "test", frames, whole, notes=['x": Infinity'])
    file = tmp_path / "test" / "song.json"
    scores.save(file)
    json.loads(file.read_text(), parse_constant=pytest.fail)
    loaded = TrackScores.load(file)
    assert loaded.notes == scores.notes
    np.testing.assert_equal(loaded.frames, frames)
    np.testing.assert_equal(loaded.whole_track, whole)
    assert loaded.median("vocals", "SDR") == math.inf
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path)
    np.testing.assert_equal(store.df[store.df.metric == "SDR"].score.to_numpy(float), values)
    assert store.agg_frames_tracks_scores()["vocals"]["SDR"] == math.inf
    assert scores.df.groupby("metric").score.median()["SIR"] == math.inf


def test_stems_without_treble_are_remarked_on():
    # Their filters are free above, which costs SIR and SAR 80 dB, in museval too.
    def lowpassed(seed):
        spectrum = torch.fft.rfft(synth.noise(3 * RATE, 1, seed).double())
        spectrum[:, int(0.6 * spectrum.shape[-1]) :] = 0
        return torch.fft.irfft(spectrum, 3 * RATE).float()

    noise = {name: 0.3 * synth.noise(3 * RATE, 1, seed) for seed, name in enumerate(TARGETS)}
    true = {name: lowpassed(seed + 9) for seed, name in enumerate(TARGETS)}
    scores = score_estimates(true, {name: true[name] + noise[name] for name in TARGETS}, RATE)
    (note,) = scores.notes
    assert "use only SDR" in note
    full = {name: synth.noise(3 * RATE, 1, seed + 9) for seed, name in enumerate(TARGETS)}
    assert not score_estimates(full, {n: full[n] + noise[n] for n in TARGETS}, RATE).notes


def test_silent_source_is_left_out_and_the_others_scored():
    true = {**stems(), "bass": torch.zeros(2, 2 * RATE)}
    made = {name: stem + synth.noise(2 * RATE, seed=7) for name, stem in true.items()}
    scores = score_estimates(true, made, RATE)
    assert list(scores.frames) == ["vocals", "drums"]
    assert scores.notes == ["bass is silent in this track and left out"]
    del true["bass"]
    assert score_estimates(true, made, RATE).frames == scores.frames
