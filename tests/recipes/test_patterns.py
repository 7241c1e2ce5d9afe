import numpy as np
import pytest
from patterns import GROOVES, Groove, perform


@pytest.mark.parametrize("name", sorted(GROOVES))
def test_every_groove_has_bars_of_one_length_and_a_bass_drum(name):
    voices = GROOVES[name].voices
    assert {len(marks) for marks in voices.values()} in ({16}, {12})
    assert "kick" in voices
    assert all(set(marks) <= set("xog.") for marks in voices.values())


def test_strokes_are_in_order_and_within_the_time():
    hits = perform(GROOVES["funk"], 10.0, np.random.default_rng(1))
    times = [hit.time for hit in hits]
    assert times == sorted(times)
    assert times[0] >= 0
    assert 9 < times[-1] < 10
    assert all(0 < hit.loudness <= 1 for hit in hits)


def test_strokes_follow_the_tempo():
    groove = Groove((120, 120), {"kick": "x...x...x...x..."})
    hits = perform(groove, 2.0, np.random.default_rng(0))
    beats = [hit.time for hit in hits if hit.voice == "kick" and hit.loudness > 0.75]
    # Four beats in the first bar of two seconds; people are early or late by milliseconds.
    for beat in (0.0, 0.5, 1.0, 1.5):
        assert min(abs(time - beat) for time in beats) < 0.04


def test_swing_delays_the_off_beats():
    marks = {"ride": "x.x.x.x.x.x.x.x."}
    straight = perform(Groove((60, 60), marks), 4.0, np.random.default_rng(3))
    swung = perform(Groove((60, 60), marks, 0.6), 4.0, np.random.default_rng(3))
    delays = [
        after.time - before.time
        for before, after in zip(
            [hit for hit in straight if hit.voice == "ride"],
            [hit for hit in swung if hit.voice == "ride"],
            strict=True,
        )
    ]
    assert delays[::2] == pytest.approx([0.0] * len(delays[::2]))
    assert delays[1::2] == pytest.approx([0.15] * len(delays[1::2]))


def test_the_same_seed_plays_the_same():
    first, second = (perform(GROOVES["punk"], 5.0, np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first != perform(GROOVES["punk"], 5.0, np.random.default_rng(8))
