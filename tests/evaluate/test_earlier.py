"""Scores of an earlier run: kept for the same inputs, computed again for any others."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace

import pytest
from helpers.evaluation import TARGETS, write_estimates

from openunmix.evaluate import System, evaluate_tracks, find_tracks
from openunmix.evaluate.earlier import earlier_scores
from openunmix.pretrained import resolve_model


@pytest.fixture
def scored(dataset, estimates, tmp_path):
    """Score one track; return its folder, the system, and the folder of scores."""
    for number in (1, 2):
        shutil.rmtree(dataset / "test" / f"song {number}")
    evaluate_tracks(find_tracks(dataset), estimates, tmp_path / "scores")
    return dataset, estimates, tmp_path / "scores"


def sdr(root, system, folder, output_dir=None):
    """Score again; return the SDR of the vocals and the names of what was computed."""
    done = []
    evaluation = evaluate_tracks(
        find_tracks(root),
        system,
        folder,
        output_dir,
        progress=lambda name, result: done.append(name),
    )
    assert not evaluation.failures
    return round(evaluation.scores[0].median("vocals", "SDR"), 3), done


def change(file):
    """Change samples of a file, but neither its size nor its times."""
    before = file.stat()
    content = file.read_bytes()
    file.write_bytes(content[:-4000] + bytes(4000))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_estimates_of_two_tools_in_folders_of_one_name(scored, tmp_path):
    """Somebody scored toolA/out, then toolB/out: toolB had the scores of toolA."""
    root, system, folder = scored
    (tmp_path / "toolB").mkdir()
    other = write_estimates(root, tmp_path / "toolB" / system.estimates.name, leak=0.9)
    expected = sdr(root, replace(system, estimates=other), tmp_path / "new")[0]
    first = sdr(root, system, folder)[0]
    found, done = sdr(root, replace(system, estimates=other), folder)
    assert (found, done) == (expected, ["song 0"])
    assert abs(found - first) > 3
    assert sdr(root, replace(system, estimates=other), folder) == (expected, [])


@pytest.mark.parametrize("file", ["others/song 0/vocals.wav", "tracks/test/song 0/drums.wav"])
def test_file_that_was_exchanged_is_noticed_by_its_content(scored, tmp_path, file):
    """A copy that keeps times (`cp -p`) replaced a file by another one of its size."""
    root, system, folder = scored
    change(tmp_path / file)
    _, outdated = earlier_scores(find_tracks(root), system, folder)
    part = "estimates/vocals" if "others" in file else "track/drums"
    assert outdated["song 0"].endswith(f"was made with others of: {part}")
    expected = sdr(root, system, tmp_path / "new")[0]
    assert sdr(root, system, folder) == (expected, ["song 0"])


def test_mixture_that_appears_is_a_change(scored):
    """A mixture was added to a track that had been scored without one."""
    root, system, folder = scored
    song = root / "test" / "song 0"
    shutil.copy(song / "vocals.wav", song / "mixture.wav")
    assert sdr(root, replace(system, estimates=None, oracle="mixture"), folder)[1] == ["song 0"]


def test_moved_and_copied_data_is_the_same(scored, tmp_path):
    """Somebody moved tracks and estimates to another disk in the middle of a long evaluation."""
    root, system, folder = scored
    copy = shutil.copytree(root, tmp_path / "disk" / "tracks", copy_function=shutil.copyfile)
    moved = system.estimates.rename(tmp_path / "disk" / "renamed")
    (moved / "song 0" / "bass.wav").write_bytes(b"not used")
    assert sdr(copy, replace(system, estimates=moved), folder)[1] == []


@pytest.mark.parametrize(
    "change",
    [
        {"targets": ("drums", "vocals")},
        {"aggregate": {"vocals": ["vocals"], "rest": ["drums"]}},
        {"estimates": None, "oracle": "irm1"},
    ],
    ids=str,
)
def test_other_settings_are_scored_again(scored, tmp_path, change):
    """Scores were of other targets, sums or systems than those that were asked for."""
    root, system, folder = scored
    changed = replace(system, **change)
    expected = sdr(root, changed, tmp_path / "new")[0]
    assert sdr(root, changed, folder) == (expected, ["song 0"])
    assert sdr(root, changed, folder) == (expected, [])


def test_settings_and_files_of_a_model_are_compared(dataset, model, tmp_path):
    """Somebody edited separator.json, or asked for another iteration of the filter."""
    folder = tmp_path / "scores"

    def done(**settings):
        system = System(resolve_model(model), targets=TARGETS, **settings)
        return len(sdr(dataset, system, folder)[1])

    assert (done(), done()) == (3, 0)
    assert (done(niter=0), done(niter=0)) == (3, 0)
    assert done(wiener_win_len=None) == 3
    assert done() == 3
    config = json.loads((model / "separator.json").read_text())
    (model / "separator.json").write_text(json.dumps(config | {"nhop": config["nfft"] // 2}))
    assert (done(), done()) == (3, 0)


def test_estimates_that_are_to_be_written_are_there_and_those_of_the_scores(
    dataset, model, tmp_path
):
    """Somebody asked for --outdir after scoring, or had written another model's estimates there."""
    system = System(resolve_model(model), targets=TARGETS)
    scores, out = tmp_path / "scores", tmp_path / "out"
    assert len(sdr(dataset, system, scores)[1]) == 3
    assert len(sdr(dataset, system, scores, out)[1]) == 3
    assert sdr(dataset, system, scores, out)[1] == sdr(dataset, system, scores)[1] == []
    change(out / "test" / "song 1" / "drums.wav")
    (out / "test" / "song 2" / "vocals.wav").unlink()
    assert sdr(dataset, system, scores, out)[1] == ["song 1", "song 2"]


def test_estimates_that_are_gone_have_no_scores(scored):
    """Estimates were removed; their scores went on to be reported."""
    root, system, folder = scored
    shutil.rmtree(system.estimates / "song 0")
    evaluation = evaluate_tracks(find_tracks(root), system, folder)
    assert evaluation.scores == []
    assert "no estimates" in evaluation.failures["song 0"]


TEXT = (
    '{"targets": [{"name": "vocals", "frames": [{"metrics": '
    '{"SDR": %s, "ISR": 1, "SIR": 1, "SAR": 1}}]}]%s}'
)
DAMAGED = {
    "empty": b"",
    "of zeros, after a power cut": bytes(4096),
    "cut in half": TEXT.encode()[:60],
    "not JSON": b"SDR 5.3 dB",
    "not text": b"\xff\xfe\x00{",
    "a list": b"[]",
    "null": b"null",
    "without targets": b"{}",
    "targets of another kind": b'{"targets": {"vocals": 5.0}}',
    "without a metric": b'{"targets": [{"name": "v", "frames": [{"metrics": {"SDR": 1}}]}]}',
    "words for numbers": (TEXT % ('"five"', "")).encode(),
    "a number without end": (TEXT % ("1" + 400 * "0", "")).encode(),
    "nested without end": 100_000 * b"[",
    "other files": (TEXT % ("1", ', "openunmix": {"files": {"track": 5}}')).encode(),
    "other whole tracks": (TEXT % ("1", ', "openunmix": {"whole_track": [1]}')).encode(),
    "of another program": (TEXT % ("1", ', "museval_version": "0.4.1"')).encode(),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_file_that_is_no_file_of_scores_is_named_and_replaced(scored, damage):
    """One damaged file of scores ended the evaluation of all tracks as wrong usage."""
    root, system, folder = scored
    expected = sdr(root, system, folder)[0]
    file = folder / "test" / "song 0.json"
    file.write_bytes(DAMAGED[damage])
    assert str(file) in earlier_scores(find_tracks(root), system, folder).outdated["song 0"]
    assert sdr(root, system, folder) == (expected, ["song 0"])


@pytest.mark.parametrize(
    ("literal", "value"),
    [("null", math.nan), ("NaN", math.nan), ("1e999", math.inf), ("Infinity", math.inf)],
)
def test_numbers_that_json_does_not_have_are_read(scored, literal, value):
    """A strict program rewrote the scores: null where they are not defined."""
    root, system, folder = scored
    file = folder / "test" / "song 0.json"
    content = json.loads(file.read_text())
    content["targets"][0]["frames"][0]["metrics"]["SDR"] = "here"
    content["openunmix"]["whole_track"]["vocals"]["si_sdr"] = "here"
    file.write_text("\ufeff" + json.dumps(content).replace('"here"', literal), "utf-8")
    kept = earlier_scores(find_tracks(root), system, folder).kept["song 0"]
    assert kept.frames["vocals"]["SDR"][0] == pytest.approx(value, nan_ok=True)
    assert kept.whole_track["vocals"]["si_sdr"] == pytest.approx(value, nan_ok=True)
    assert len(kept.frames["vocals"]["SDR"]) == 2
