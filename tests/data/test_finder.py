"""Audio files in folders: found in any case and format, whatever else lies beside them."""

from __future__ import annotations

import unicodedata

import pytest

from openunmix.data.finder import ACCEPTED, audio_files, contents, files_named, files_with, matching


@pytest.fixture
def folder(tmp_path):
    """Return a function that makes empty files, and returns their folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


NAMES = ["vocals.wav", "vocals.WAV", "Vocals.wav", "VOCALS.AIFF", "vocals.Flac", "vocals.mp3"]
NAMES += ["vocals.ogg", "vocals.opus", "vocals.m4a", "vocals.wv", "vocals.aif", "vocals.caf"]


@pytest.mark.parametrize("name", NAMES)
def test_stem_is_found_in_any_case_and_format(folder, name):
    """A studio delivers VOCALS.AIFF, and the dataset asks for vocals.wav."""
    where = folder(name, "vocals.txt", "vocals.jpg", "._vocals.wav", "vocals/x.wav", "vocals.asd")
    for asked in ("vocals.wav", "Vocals.FLAC", "vocals", "voc*.wav", "VOC*"):
        assert [path.name for path in matching(where, asked)] == [name]
    assert {key: path.name for key, path in audio_files(where, ["vocals"]).items()} == {
        "vocals": name
    }
    assert [path.name for path in files_with(where, None)] == [name]


def test_name_itself_is_the_best_match(folder, caplog):
    where = folder("vocals.wav", "VOCALS.wav", "vocals.mp3", "vocals.aiff")
    for name in ("vocals.mp3", "vocals.wav", "VOCALS.wav"):
        assert files_named(where, [name])[name].name == name
    assert files_named(where, ["vocals.m4a"])["vocals.m4a"].name == "VOCALS.wav"
    assert "vocals.mp3 is used, not VOCALS.wav, vocals.wav, vocals.aiff" in caplog.text


def test_accents_of_macos_are_the_same(folder):
    where = folder(unicodedata.normalize("NFD", "Chœur à quatre.wav"))
    name = unicodedata.normalize("NFC", "chœur à quatre")
    assert matching(where, f"{name}.wav")
    assert list(audio_files(where, [name])) == [name]


def test_names_may_hold_brackets_and_lead_to_folders_below(folder):
    where = folder("stems/vocals [lead].WAV", "song.xyz", "song.png")
    assert matching(where, "stems/vocals [lead].wav") == [where / "stems/vocals [lead].WAV"]
    assert matching(where, "song.xyz") == matching(where, "*.xyz") == [where / "song.xyz"]
    assert matching(where, "song*") == []


def test_suffix_is_found_in_any_case_and_others_are_named(folder, caplog):
    where = folder("a.wav", "b.WAV", "c_dry.wav", "c.aiff", "d.txt", ".e.wav", "b.flac")
    assert [path.name for path in files_with(where, ".wav")] == ["a.wav", "b.WAV", "c_dry.wav"]
    assert [path.name for path in files_with(where, "_dry.WAV")] == ["c_dry.wav"]
    assert "c.aiff passed over, as the extension given is .wav" in caplog.text


def test_content_of_a_folder_is_told(folder):
    where = folder(*(f"{k}.txt" for k in range(8)), "sub/x")
    assert contents(where).startswith("there is 0.txt, 1.txt,")
    assert contents(where).endswith("5.txt and 3 more")
    assert contents(folder("empty/.x") / "empty") == "there is nothing in it"
    assert ".aiff" in ACCEPTED
