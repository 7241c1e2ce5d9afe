"""Evaluation from files to scores: datasets, estimates, models, repeated runs."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from dataclasses import replace

import pytest
import soundfile
import torch
from helpers import sounds as synth
from helpers.evaluation import RATE, TARGETS, stems, write_estimates
from helpers.museval_reference import museval_package, museval_scores

from openunmix.audio import read_audio
from openunmix.evaluate import (
    System,
    evaluate_tracks,
    find_tracks,
    median_over_tracks,
    separate_and_evaluate,
)
from openunmix.evaluate.bss_eval import bss_eval
from openunmix.evaluate.scores import score_estimates
from openunmix.evaluate.tracks import find_pairs
from openunmix.predict.stream import separate_waveform
from openunmix.pretrained import load_separator, resolve_model


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
    # 1.3.0 filtered whole tracks when scoring and blocks of 300 frames in the command.
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
