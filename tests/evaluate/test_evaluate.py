"""Evaluation from files to scores: datasets, estimates, oracles, resuming, bad tracks."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import types
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from helpers import models
from helpers import sounds as synth
from helpers.deadly_track import DeadlyTrack
from helpers.museval_reference import museval_package, museval_scores

from openunmix.audio import read_audio
from openunmix.evaluate import (
    System,
    TrackScores,
    evaluate_tracks,
    find_pairs,
    find_tracks,
    median_over_tracks,
    score_estimates,
    separate_and_evaluate,
)
from openunmix.evaluate.bss_eval import bss_eval
from openunmix.evaluate.oracles import ideal_ratio_mask, multichannel_wiener_filter
from openunmix.predict.stream import separate_waveform
from openunmix.pretrained import load_separator, resolve_model

RATE = 8000
TARGETS = ("vocals", "drums")


def stems(seed=0, samples=2 * RATE):
    """Make two sources that overlap in frequency."""
    return {
        "vocals": synth.tone(samples, 300 + 50 * seed) + synth.noise(samples, seed=seed),
        "drums": synth.noise(samples, seed=seed + 100, amplitude=0.2),
    }


@pytest.fixture
def dataset(track_folder):
    """Write three tracks as in MUSDB18-HQ; return the root."""
    for number in range(3):
        sources = stems(number)
        files = {f"{name}.wav": waveform for name, waveform in sources.items()}
        root = track_folder(f"test/song {number}", files).parents[1]
    return root


@pytest.fixture
def model(tmp_path, tiny_separator):
    """Write a model folder."""
    return models.save_model(tmp_path / "tiny", tiny_separator(TARGETS))


def write_estimates(dataset, folder, leak=0.3):
    """Write what another program might have made of the tracks."""
    for track in find_tracks(dataset):
        audio = track.read()
        place = folder / track.name
        place.mkdir(parents=True, exist_ok=True)
        for name, stem in audio.sources.items():
            estimate = stem + leak * (audio.mixture - stem)
            soundfile.write(place / f"{name}.wav", estimate.T.numpy(), RATE, "FLOAT")
    return folder


@pytest.fixture
def estimates(dataset, tmp_path):
    """Return a system of estimates in files."""
    folder = write_estimates(dataset, tmp_path / "others")
    return System(estimates=folder, targets=TARGETS)


def test_pairs_are_read_from_a_list(dataset, tmp_path):
    folder = write_estimates(dataset, tmp_path / "others")
    lines = [f"tracks/test/song {number},others/song {number}\n" for number in range(2)]
    (tmp_path / "pairs.csv").write_text("".join(lines))
    tracks = find_pairs(tmp_path / "pairs.csv")
    system = System(estimates=tmp_path / "pairs", targets=TARGETS)
    from_pairs = evaluate_tracks(tracks, system, tmp_path / "a")
    from_folder = evaluate_tracks(
        find_tracks(dataset)[:2], replace(system, estimates=folder), tmp_path / "b"
    )
    assert [s.frames for s in from_pairs.scores] == [s.frames for s in from_folder.scores]


def test_scores_of_estimates_are_those_of_bss_eval(dataset, estimates, tmp_path):
    evaluation = evaluate_tracks(find_tracks(dataset), estimates, tmp_path / "scores")
    assert not evaluation.failures
    assert [scores.name for scores in evaluation.scores] == ["song 0", "song 1", "song 2"]
    audio = find_tracks(dataset)[1].read()
    true = torch.stack([audio.sources[name] for name in TARGETS])
    given = true + 0.3 * (audio.mixture - true)
    expected = bss_eval(true, given, RATE)
    for number, name in enumerate(TARGETS):
        for metric, values in zip(("SDR", "ISR", "SIR", "SAR"), expected, strict=True):
            found = evaluation.scores[1].frames[name][metric]
            assert found == pytest.approx(values[number].tolist(), abs=1e-2)


def test_model_is_scored_as_it_separates(dataset, model, tmp_path):
    # B8: 1.3.0 filtered whole tracks when scoring and blocks of 300 frames in the command.
    system = System(resolve_model(model), targets=TARGETS)
    tracks = find_tracks(dataset)
    folder = tmp_path / "estimates"
    evaluation = evaluate_tracks(tracks[:1], system, tmp_path / "scores", folder)
    audio = tracks[0].read()
    separator = load_separator(model, TARGETS, niter=1, wiener_win_len=300)
    expected = separate_waveform(separator, audio.mixture)
    for name, estimate in zip(TARGETS, expected, strict=True):
        written = read_audio(folder / "test" / "song 0" / f"{name}.wav").waveform
        torch.testing.assert_close(written, estimate)
    direct = score_estimates(audio.sources, dict(zip(TARGETS, expected, strict=True)), RATE)
    for name, values in direct.frames.items():
        # The model's targets are in another order, which changes sums in the last digits.
        found = evaluation.scores[0].frames[name]["SDR"]
        assert found == pytest.approx(values["SDR"], abs=1e-4)


def test_window_of_the_filter_is_passed_on(dataset, model, tmp_path):
    track = find_tracks(dataset)[0]

    def scored(window):
        return separate_and_evaluate(
            track, TARGETS, model, 1, None, None, False, None, wiener_win_len=window
        ).frames

    assert scored(None) == scored(300)
    assert scored(50) != scored(300)
    assert scored(0) != scored(300)


def test_model_must_have_the_targets(model):
    with pytest.raises(ValueError, match="does not have all of"):
        System(resolve_model(model), targets=("vocals", "bass"))


def test_track_at_another_rate_than_the_model_is_scored_at_its_own(track_folder, model, tmp_path):
    sources = stems(samples=32001)
    files = {f"{name}.wav": waveform for name, waveform in sources.items()}
    root = track_folder("test/song", files, 16000).parents[1]
    system = System(resolve_model(model), targets=TARGETS)
    evaluation = evaluate_tracks(find_tracks(root), system, tmp_path / "s", tmp_path / "e")
    assert not evaluation.failures
    assert soundfile.info(tmp_path / "e" / "test" / "song" / "drums.wav").frames == 32001
    assert len(evaluation.scores[0].frames["drums"]["SDR"]) == 2


def test_residual_is_compared_with_the_stems_that_are_no_targets(track_folder, model, tmp_path):
    sources = {
        **stems(),
        "bass": synth.tone(2 * RATE, 90.0),
        "other": synth.noise(2 * RATE, seed=9),
    }
    files = {f"{name}.wav": waveform for name, waveform in sources.items()}
    root = track_folder("test/song", files).parents[1]
    system = System(resolve_model(model, ["vocals"]), targets=("vocals",), residual=True)
    (scores,) = evaluate_tracks(find_tracks(root), system, tmp_path / "s", tmp_path / "e").scores
    assert list(scores.frames) == ["vocals", "residual"]
    audio = find_tracks(root)[0].read()
    written = {
        name: read_audio(tmp_path / "e" / "test" / "song" / f"{name}.wav").waveform
        for name in scores.frames
    }
    torch.testing.assert_close(sum(written.values()), audio.mixture, atol=1e-6, rtol=0)
    rest = audio.sources["drums"] + audio.sources["bass"] + audio.sources["other"]
    direct = score_estimates({"vocals": audio.sources["vocals"], "residual": rest}, written, RATE)
    assert scores.frames["residual"]["SDR"] == pytest.approx(direct.frames["residual"]["SDR"])


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


def test_scores_are_read_by_museval(dataset, estimates, tmp_path, monkeypatch):
    museval = museval_package(monkeypatch)
    evaluation = evaluate_tracks(find_tracks(dataset), estimates, tmp_path / "scores")
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path / "scores")
    theirs = store.agg_frames_tracks_scores()
    for target, values in median_over_tracks(evaluation.scores).items():
        for metric in ("SDR", "ISR", "SIR", "SAR"):
            assert float(theirs[target][metric]) == pytest.approx(values[metric], abs=1e-4)
    direct = museval.EvalStore()
    for scores in evaluation.scores:
        direct.add_track(scores.df)
    assert direct.agg_frames_tracks_scores().round(4).equals(theirs.round(4))
    track = museval.TrackStore("song")
    track.scores = json.loads((tmp_path / "scores" / "test" / "song 0.json").read_text())
    track.validate()


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


def test_finished_tracks_are_kept(dataset, estimates, tmp_path):
    tracks = find_tracks(dataset)
    evaluate_tracks(tracks[:2], estimates, tmp_path / "scores")
    done = []
    first = tmp_path / "scores" / "test" / "song 0.json"
    before = first.stat().st_mtime_ns
    evaluation = evaluate_tracks(
        tracks, estimates, tmp_path / "scores", progress=lambda name, result: done.append(name)
    )
    assert done == ["song 2"]
    assert first.stat().st_mtime_ns == before
    assert len(evaluation.scores) == 3


def test_scores_with_other_settings_are_not_taken_for_finished(dataset, model, tmp_path):
    tracks = find_tracks(dataset)[:1]
    system = System(resolve_model(model), targets=TARGETS)
    evaluate_tracks(tracks, system, tmp_path / "scores")
    with pytest.raises(ValueError, match=r"another evaluation.*'niter': 1"):
        evaluate_tracks(tracks, replace(system, niter=2), tmp_path / "scores")
    (tmp_path / "scores" / "test" / "song 0.json").write_text("{")
    with pytest.raises(ValueError, match="not a file of scores"):
        evaluate_tracks(tracks, system, tmp_path / "scores")


def rewrite(file, change, rate=RATE):
    """Change the samples of a file."""
    audio, _ = soundfile.read(file, always_2d=True)
    soundfile.write(file, change(audio), rate, "FLOAT")


BAD = {
    "longer": ("stem", lambda a: np.pad(a, ((0, 5), (0, 0))), RATE, "samples.*make them alike"),
    "rate": ("stem", lambda a: a, 16000, "sample rate of 16000 Hz"),
    "nan": ("stem", lambda a: a * np.nan, RATE, "vocals.wav"),
    "silent": ("stem", lambda a: 0 * a, RATE, "at least two of vocals, drums must be non-silent"),
    "short estimate": ("estimate", lambda a: a[:-3], RATE, "estimate of vocals has .* 15997"),
    "estimate's rate": ("estimate", lambda a: a, 16000, "16000 Hz, the track .* 8000 Hz"),
    "silent estimate": ("estimate", lambda a: 0 * a, RATE, "estimate of vocals is silent"),
    "mono estimate": ("estimate", lambda a: a[:, :1], RATE, "has one channel of"),
}


@pytest.mark.parametrize("what", BAD)
def test_one_bad_track_does_not_stop_the_others(dataset, estimates, tmp_path, what):
    place, change, rate, message = BAD[what]
    folder = dataset / "test" if place == "stem" else estimates.estimates
    rewrite(folder / "song 1" / "vocals.wav", change, rate)
    evaluation = evaluate_tracks(find_tracks(dataset), estimates, tmp_path / "scores")
    assert [scores.name for scores in evaluation.scores] == ["song 0", "song 2"]
    (reason,) = evaluation.failures.values()
    with pytest.raises(ValueError, match=message):
        raise ValueError(reason)


def test_missing_files_are_named(dataset, estimates, tmp_path):
    (dataset / "test" / "song 0" / "drums.wav").unlink()
    (estimates.estimates / "song 1" / "vocals.wav").unlink()
    shutil.rmtree(estimates.estimates / "song 2")
    alone = dataset / "test" / "song 3" / "mixture.wav"
    alone.parent.mkdir()
    shutil.copy(dataset / "test" / "song 0" / "vocals.wav", alone)
    failures = evaluate_tracks(find_tracks(dataset), estimates, tmp_path / "scores").failures
    assert "the stem of drums is missing; there are vocals" in failures["song 0"]
    assert "no estimate of vocals in" in failures["song 1"]
    assert "there is no folder" in failures["song 2"]
    assert "there are none" in failures["song 3"]


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


def test_workers_give_the_same_scores_even_if_one_is_killed(dataset, estimates, tmp_path):
    track = find_tracks(dataset)[0]
    killer = DeadlyTrack("killer", "test", {})
    (alone,) = evaluate_tracks([track], estimates, tmp_path / "a").scores
    together = evaluate_tracks([killer, track], estimates, tmp_path / "b", workers=2)
    (scores,) = together.scores
    assert scores.frames["vocals"]["SDR"] == pytest.approx(alone.frames["vocals"]["SDR"])
    assert together.failures == {
        "killer": "its process was killed, as happens when memory runs out"
    }


@pytest.mark.parametrize("oracle", ["irm1", "irm2", "mwf"])
def test_oracles_are_better_than_the_mixture(dataset, tmp_path, oracle):
    tracks = find_tracks(dataset)[:1]
    best = evaluate_tracks(tracks, System(oracle=oracle, targets=TARGETS), tmp_path / "best")
    floor = evaluate_tracks(tracks, System(oracle="mixture", targets=TARGETS), tmp_path / "floor")
    for target in TARGETS:
        gain = best.scores[0].median(target, "SDR") - floor.scores[0].median(target, "SDR")
        assert gain > 3


def test_mixture_is_the_estimate_of_sums_and_of_the_residual_too(track_folder, tmp_path):
    # Three times the mixture would be no floor.
    sources = {**stems(), "bass": synth.tone(2 * RATE, 90.0)}
    files = {f"{name}.wav": waveform for name, waveform in sources.items()}
    root = track_folder("test/song", files).parents[1]
    sums = {"vocals": ["vocals"], "accompaniment": ["drums", "bass"], "rest": ["residual"]}
    system = System(
        oracle="mixture", targets=("vocals", "drums", "bass"), residual=True, aggregate=sums
    )
    evaluate_tracks(find_tracks(root), system, tmp_path / "s", tmp_path / "e")
    mixture = find_tracks(root)[0].read().mixture
    for name in sums:
        written = read_audio(tmp_path / "e" / "test" / "song" / f"{name}.wav").waveform
        torch.testing.assert_close(written, mixture)


@pytest.mark.parametrize("samples", [100, 5000, 150001])
@pytest.mark.parametrize("method", [ideal_ratio_mask, multichannel_wiener_filter])
def test_oracle_estimates_sum_to_the_mixture(method, samples):
    sources = torch.stack(list(stems(samples=samples).values()))
    estimates = method(sources.sum(dim=0), sources)
    assert estimates.shape == sources.shape
    torch.testing.assert_close(estimates.sum(dim=0), sources.sum(dim=0), atol=2e-4, rtol=0)


def test_wiener_filter_separates_what_only_panning_tells_apart():
    samples = 5 * RATE
    left = synth.panned(synth.noise(samples, channels=1), -0.8)
    right = synth.panned(synth.noise(samples, channels=1, seed=1), 0.8)
    sources = torch.stack([left, right])
    error = multichannel_wiener_filter(left + right, sources) - sources
    assert float(error.square().mean() / sources.square().mean()) < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of model, estimates and oracle"),
        ({"oracle": "magic"}, "'magic' is unknown"),
        ({"oracle": "mwf", "targets": ("vocals",)}, "two or more"),
        ({"oracle": "mwf", "aggregate": {"a": ["x"], "b": ["vocals"]}}, "cannot make 'a'"),
    ],
)
def test_systems_that_cannot_be_scored_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        System(**settings)


def musdb_track():
    """Return what the musdb package would."""
    audio = {name: stem.T.double().numpy() for name, stem in stems().items()}
    sources = {name: types.SimpleNamespace(audio=stem) for name, stem in audio.items()}
    return types.SimpleNamespace(
        name="../A - B", subset="test", rate=RATE, audio=sum(audio.values()), sources=sources
    )


def test_call_of_1_3_0_scores_a_track_of_musdb(model, tmp_path):
    scores = separate_and_evaluate(
        musdb_track(),
        list(TARGETS),
        str(model),
        1,
        str(tmp_path / "estimates"),
        str(tmp_path / "scores"),
        False,
        None,
    )
    # A name from a dataset is no path.
    assert (tmp_path / "scores" / "test" / "A - B.json").is_file()
    made = torch.stack(
        [
            read_audio(tmp_path / "estimates" / "test" / "A - B" / f"{name}.wav").waveform
            for name in TARGETS
        ]
    )
    true = torch.stack(list(stems().values()))
    expected = museval_scores(true, made, RATE)[0]
    for number, name in enumerate(TARGETS):
        assert scores.frames[name]["SDR"] == pytest.approx(expected[number].tolist(), abs=1e-2)
    assert "SDR:" in str(scores)


def test_module_runs_as_a_command():
    command = [sys.executable, "-m", "openunmix.evaluate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for flag in ("--evaldir", "--is-wav", "--wiener-win-len", "--subset", "--cores"):
        assert flag in done.stdout
