from itertools import pairwise

import numpy as np
import pytest
from basslines import LINES, play_line


@pytest.mark.parametrize("name", sorted(LINES))
def test_every_bar_has_eight_steps(name):
    assert {len(bar.split()) for bar in LINES[name].steps} == {8}


@pytest.mark.parametrize("name", sorted(LINES))
def test_notes_are_those_of_a_bass_one_at_a_time(name):
    notes = play_line(LINES[name], 12.0, np.random.default_rng(2))
    assert len(notes) > 4
    assert all(28 <= note.pitch <= 28 + 11 + 12 for note in notes)
    assert all(note.duration > 0 and 0 <= note.time < 12 for note in notes)
    # The timing of a person may make two notes overlap by a few milliseconds.
    assert all(
        note.time + note.duration < following.time + 0.05 for note, following in pairwise(notes)
    )
