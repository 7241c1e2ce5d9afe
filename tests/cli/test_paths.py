"""Which files a command works on, and where their outputs go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openunmix.cli._paths import _key, find_inputs, output_folders, track_name
from openunmix.predict.marks import describe_input, write_mark


@pytest.fixture(autouse=True)
def _work_in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(*names):
    """Make empty files, and the folders they are in."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*patterns):
    """Return the names found."""
    return [path.as_posix() for path in find_inputs(patterns)]


def test_files_stay_in_the_order_given():
    make("b.wav", "a.mp3")
    assert found("b.wav", "a.mp3") == ["b.wav", "a.mp3"]


def test_any_file_may_be_named():
    make("notes.txt", ".hidden.wav")
    assert found("notes.txt", ".hidden.wav") == ["notes.txt", ".hidden.wav"]


def test_folder_means_the_audio_files_in_it_and_below():
    make("m/b.WAV", "m/a.flac", "m/deep/c.stem.mp4", "m/cover.jpg", "m/.d.wav", "m/.e/f.wav")
    assert found("m") == ["m/a.flac", "m/b.WAV", "m/deep/c.stem.mp4"]


def test_folder_may_itself_be_below_a_hidden_one():
    make(".cache/m/a.wav")
    assert found(".cache/m") == [".cache/m/a.wav"]


def test_folder_without_audio_stays_to_be_reported():
    make("m/cover.jpg")
    assert found("m") == ["m"]


def test_patterns_are_expanded_in_order():
    make("m/b.wav", "m/a.wav", "m/c.txt", "m/deep/d.wav", "m/folder.wav/e.txt")
    assert found("m/*.wav") == ["m/a.wav", "m/b.wav"]
    assert found("m/**/*.wav") == ["m/a.wav", "m/b.wav", "m/deep/d.wav"]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("[a].wav", "[a].wav"),
        ("live [2020]/*.wav", "live [2020]/a.wav"),
        ("live [2020]/disc [1]/**/*.wav", "live [2020]/disc [1]/deep/a.wav"),
        ("*/disc [1]/*.wav", "x/disc [1]/a.wav"),
        ("[Live] *.wav", "[Live] a.wav"),
        ("what?/*.wav", "what?/a.wav"),
        ("[open/*.wav", "[open/a.wav"),
        ("*/a\nb*.wav", "x/a\nb [c].wav"),
        ("caf\udce9/*.wav", "caf\udce9/a.wav"),
    ],
)
def test_what_exists_is_no_pattern(pattern, name):
    """Albums are called `live [2020]`, and a quoted `live [2020]/*.wav` did not exist."""
    make("a.wav", "live 2/a.wav", "what2/a.wav", "L.wav", name)
    assert found(pattern) == [name]


def test_folder_that_matches_a_pattern_is_searched_as_the_shell_has_it():
    make("music/a/1.wav", "music/b/2.wav", "music/b/cover.jpg", "music/3.wav")
    assert found("music/*") == ["music/3.wav", "music/a/1.wav", "music/b/2.wav"]


def test_home_in_quotes(tmp_path, monkeypatch):
    """`umx '~/music/*.wav'`: the shell leaves what is in quotes as it is."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    make("home/music/a.wav", "~x.wav")
    assert find_inputs(["~/music/*.wav"]) == [tmp_path / "home/music/a.wav"]
    assert found("~x.wav") == ["~x.wav"]


def test_folder_reports_what_it_skips(caplog):
    """Someone gave a folder of .xyz recordings, and nothing said why they were passed over."""
    make("m/a.m4b", "m/b.TS", "m/c.xyz", "m/d.xyz", "m/e", "m/.hidden.xyz", "quiet/a.wav")
    assert found("m", "quiet") == ["m/a.m4b", "m/b.TS", "quiet/a.wav"]
    (line,) = caplog.messages
    assert line.startswith("'m': files of other kinds skipped: 2 .xyz, 1 without extension;")


def test_folder_that_cannot_be_searched_is_reported(caplog, monkeypatch):
    make("m/a.wav", "m/locked/b.wav")
    scandir = os.scandir

    def locked(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert found("m") == ["m/a.wav"]
    assert caplog.messages == ["'m/locked' cannot be searched: Permission denied"]


def test_links_to_folders_are_followed_once_and_broken_ones_reported():
    make("m/a.wav", "other/b.wav", "c.wav")
    os.symlink("../other", "m/other")
    os.symlink("..", "m/up")
    os.symlink("nowhere.wav", "m/c.wav")
    assert found("m") == ["m/a.wav", "m/c.wav", "m/other/b.wav"]


@pytest.mark.parametrize("name", ["missing.wav", "m/*.wav", 300 * "x" + ".wav"])
def test_what_matches_nothing_stays_to_be_reported(name):
    assert found(name) == [name]


def test_file_given_in_several_ways_is_one_file(tmp_path):
    make("m/a.wav", "b.wav")
    os.symlink("m", "link")
    ways = ["b.wav", "m/a.wav", "m/../m/a.wav", "m", "*/a.wav", str(tmp_path / "m" / "a.wav")]
    assert found(*ways, "link/a.wav", "b.wav") == ["b.wav", "m/a.wav"]
    assert found("missing.wav", "./missing.wav") == ["missing.wav"]


def test_links_that_lead_in_circles_stay_to_be_reported():
    os.symlink("circle.wav", "circle.wav")
    assert found("circle.wav") == ["circle.wav"]


@pytest.mark.parametrize(
    ("name", "song"),
    [
        ("song.mp3", "song"),
        ("my.song.v2.wav", "my.song.v2"),
        ("song.stem.mp4", "song"),
        ("song", "song"),
        (".wav", ".wav"),
        (".stem.mp4", ".stem.mp4"),
        ("Vol. 1", "Vol. 1"),
        ("Mr. Blue", "Mr. Blue"),
        ("tape.m4b", "tape"),
        ("..wav", "..wav"),
        ("...wav", "...wav"),
    ],
)
def test_song_is_named_after_its_file(name, song):
    assert track_name(Path("folder") / name) == song


def test_outputs_go_to_a_folder_for_each_song():
    inputs = [Path("music/one.wav"), Path("two.mp3")]
    assert output_folders(inputs, None, "umxhq") == [Path("one_umxhq"), Path("two_umxhq")]
    assert output_folders(inputs, Path("out"), "umxhq") == [Path("out/one"), Path("out/two")]


def test_songs_of_one_name_get_numbers():
    inputs = [Path(name) for name in ("a/s.wav", "b/s.wav", "S.mp3", "s-2.wav", "s.flac")]
    folders = output_folders(inputs, Path("out"), "umxhq")
    assert [folder.name for folder in folders] == ["s", "s-2", "S-3", "s-2-2", "s-4"]
    assert output_folders(inputs[:2], None, "m") == [Path("s_m"), Path("s-2_m")]


def mark(folder, path, outputs=("vocals.wav",)):
    """Mark a folder as separated from a file."""
    make(*(f"{folder}/{name}" for name in outputs))
    write_mark(Path(folder), Path(path), describe_input(Path(path), Path(folder)), outputs, {}, {})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a/01.wav", "b/01.wav"),
        ("song.wav", "song.flac"),
        ("Song.wav", "song.flac"),
        ("a/caf\u00e9.wav", "b/cafe\u0301.wav"),
        ("song.wav", "song .wav"),
        ("Vol.1", "b/Vol.1"),
        ("song.stem.mp4", "song.mp3"),
        ("a/STRASSE.wav", "b/stra\u00dfe.wav"),
        ("a/s-2.wav", "b/s-2.wav"),
    ],
)
@pytest.mark.parametrize("outdir", [None, Path("out")])
def test_songs_of_one_name_keep_their_folders_between_runs(one, two, outdir):
    """`a/01.wav` today, `b/01.wav` tomorrow: one took the place of the other."""
    make(one, two)
    (first,) = output_folders([Path(one)], outdir, "m")
    mark(first, one)
    (second,) = output_folders([Path(two)], outdir, "m")
    assert _key(first.name) != _key(second.name)
    mark(second, two)
    for inputs, folders in (([one, two], [first, second]), ([two, one], [second, first])):
        assert output_folders([Path(name) for name in inputs], outdir, "m") == folders
    shutil.rmtree(first)
    assert output_folders([Path(two)], outdir, "m") == [second]
    assert output_folders([Path(one)], outdir, "m") == [first]


def test_trees_keep_their_folders_when_they_are_moved_and_copied():
    make("old/a/01.wav", "old/b/01.wav")
    mark("old/out/01", "old/b/01.wav")
    mark("old/out/01-2", "old/a/01.wav")
    shutil.copytree("old", "copy")
    os.rename("old", "new")
    for tree in ("copy", "new"):
        inputs = [Path(tree, "a/01.wav"), Path(tree, "b/01.wav")]
        folders = output_folders(inputs, Path(tree, "out"), "m")
        assert [folder.name for folder in folders] == ["01-2", "01"]


def test_song_that_was_moved_keeps_its_folder_but_a_copy_does_not():
    make("a/01.wav", "b/01.wav")
    mark("out/01", "a/01.wav")
    assert output_folders([Path("b/01.wav")], Path("out"), "m") == [Path("out/01-2")]
    os.unlink("a/01.wav")
    assert output_folders([Path("b/01.wav")], Path("out"), "m") == [Path("out/01")]
    Path("b/01.wav").write_text("another song")
    assert output_folders([Path("b/01.wav")], Path("out"), "m") == [Path("out/01-2")]


def test_numbered_outputs_are_no_inputs_but_songs_beside_them_are():
    """`01-2_umxs/vocals.wav` was separated the next time."""
    make("a/01.wav", "01-2_umxs/take.wav")
    mark("01-2_umxs", "a/01.wav", ["vocals.wav", "sum.wav"])
    mark("renamed", "a/01.wav")
    assert found(".") == ["01-2_umxs/take.wav", "a/01.wav"]
    assert found("*/*.wav") == ["01-2_umxs/take.wav", "a/01.wav"]
    assert found("renamed/vocals.wav") == ["renamed/vocals.wav"]


names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)


@given(st.lists(names.filter(lambda name: name not in (".", "..")), max_size=6))
def test_no_two_songs_share_a_folder_and_none_leaves_it(file_names):
    inputs = [Path(str(number)) / name for number, name in enumerate(file_names)]
    folders = output_folders(inputs, Path("out"), "umxhq")
    assert len({str(folder).casefold() for folder in folders}) == len(inputs)
    assert all(os.path.dirname(os.path.normpath(folder)) == "out" for folder in folders)


@pytest.mark.parametrize("outdir", [None, Path("out")])
def test_outputs_of_a_run_are_no_inputs_of_the_next(tmp_path, monkeypatch, outdir):
    monkeypatch.chdir(tmp_path)
    made = Path("a_umxs") if outdir is None else outdir / "a"
    for path in (Path("a.mp3"), made / "vocals.wav", Path("b_umxs/take.wav"), Path("vocals.wav")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    songs = [Path("a.mp3"), Path("b_umxs/take.wav"), Path("vocals.wav")]
    models, names = ["umxs", "umxhq"], ["vocals"]
    assert find_inputs(["."], outdir, models, names) == songs
    found = find_inputs(["**/*.wav", "a.mp3"], outdir, models, names)
    assert found == [*songs[1:], songs[0]]
    explicit = str(made / "vocals.wav")
    assert find_inputs([explicit, "a.mp3"], outdir, models, names) == [Path(explicit), songs[0]]


def test_songs_in_a_folder_named_like_a_song_are_no_outputs():
    """`live.mp3` beside a folder `live` of its tracks, with the stems to go beside them."""
    make("live.mp3", "live/encore.wav")
    songs = [Path("live/encore.wav"), Path("live.mp3")]
    assert find_inputs(["."], Path(), ["umxs"], ["vocals"]) == songs
