"""The page that ``umx --player`` writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.commands import TARGETS, manifest, song, tree
from helpers.sounds import mixture

pytestmark = pytest.mark.usefixtures("work_folder")


def page_data(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', Path(path).read_text(), re.DOTALL)[1])


def test_player_is_written_beside_the_stems(umx, capsys):
    song("a & b.wav")
    assert umx("a & b.wav", "--player", "--niter", "2") == 0
    assert "index.html" in [Path(path).name for path in tree()]
    assert "in a & b_tiny/index.html" in capsys.readouterr().err
    data = page_data("a & b_tiny/index.html")
    assert data["title"] == "a & b"
    downloads = {track["name"]: track["download"] for track in data["tracks"]}
    assert downloads == {"original": None, **{target: f"{target}.wav" for target in TARGETS}}
    details = dict(data["details"])
    assert details["Model"] == "tiny"
    assert details["Settings"] == "Wiener filter with 2 iterations on windows of 300 frames"
    assert details["Licence"]


def test_player_compares_with_the_part_that_was_separated(umx):
    song(waveform=mixture(24000))
    assert umx("song.wav", "--player", "--start", "1", "--duration", "0.5") == 0
    data = page_data("song_tiny/index.html")
    assert data["samples"] == 4000
    stem, *_, original = [track["waveform"]["columns"] for track in data["tracks"]]
    assert stem == original


def test_player_is_in_the_manifest(umx, capsys):
    song()
    assert umx("song.wav", "--player", "--json") == 0
    (record,) = manifest(capsys)["files"]
    assert record["player"] == "song_tiny/index.html"


def test_missing_player_counts_as_not_existing(umx, capsys):
    song()
    assert umx("song.wav") == 0
    assert umx("song.wav", "--player", "--skip-existing", "--json") == 0
    assert manifest(capsys)["files"][0]["status"] == "done"
    assert umx("song.wav", "--player", "--skip-existing", "--json") == 0
    assert manifest(capsys)["files"][0]["status"] == "skipped"


def test_player_of_a_stem_mp4_is_wrong_usage(umx, capsys):
    song()
    assert umx("song.wav", "--player", "--ext", ".stem.mp4") == 2
    assert "--player needs a file per stem" in capsys.readouterr().err
