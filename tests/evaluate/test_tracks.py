"""Tracks with estimates of their own."""

from __future__ import annotations

import pytest

from openunmix.errors import AudioFileError
from openunmix.evaluate.tracks import find_pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "line 1: give two folders"),
        ("nowhere,nothing\n", "is not a folder"),
        ("", "no pairs"),
    ],
)
def test_lists_that_are_not_pairs_are_errors(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(AudioFileError, match=message):
        find_pairs(tmp_path / "pairs.csv")
