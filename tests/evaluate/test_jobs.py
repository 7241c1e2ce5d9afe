"""Tracks that cannot be scored, and processes that are killed, leave the others alone."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from multiprocessing import active_children

import numpy as np
import pytest
import soundfile
from helpers.deadly_track import DeadlyTrack, SlowTrack
from helpers.evaluation import RATE

from openunmix._signals import Stopped, stopping
from openunmix.evaluate import (
    evaluate_tracks,
    find_tracks,
)


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


@pytest.mark.skipif(os.name != "posix", reason="signals are different elsewhere")
def test_signal_ends_all_processes_and_leaves_nothing_partial(estimates, tmp_path):
    """`kill` waited for the tracks that were being scored; Ctrl-C left parts of estimates."""
    (tmp_path / "out").mkdir()
    tracks = [SlowTrack(f"{n}", "test", {}, path=tmp_path / "out" / f"{n}.wav") for n in range(3)]

    def kill_when_two_write():
        while len(list((tmp_path / "out").iterdir())) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=kill_when_two_write, daemon=True).start()
    with pytest.raises(Stopped), stopping():
        evaluate_tracks(tracks, estimates, tmp_path / "scores", workers=2)
    assert not active_children()
    assert list((tmp_path / "out").iterdir()) == []
