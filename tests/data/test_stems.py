"""Stems: found by name, decoded once, at one rate, with their level."""

from __future__ import annotations

import math

import pytest
import soundfile
import torch
from helpers import sounds as synth

from openunmix.data.stems import (
    SILENCE,
    Stem,
    StemFolder,
    StemLibrary,
    load_folder,
    load_folders,
    load_stem,
)
from openunmix.errors import AudioFileError

TARGETS = ["vocals", "drums"]


def stem(track="song", target="vocals", samples=100, level=0.1):
    """Make a stem of ones."""
    return Stem(track, target, torch.full((2, samples), 32767, dtype=torch.int16), level)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(AudioFileError, match=r"tracks: no such folder.*give a folder"):
        load_folder(StemFolder(str(tmp_path / "tracks")), TARGETS, 8000)


def test_folder_without_stems_is_named(track_folder):
    root = track_folder("a", {"piano.wav": synth.noise(100)}).parent
    with pytest.raises(AudioFileError, match=r"tracks: no track folder holds.*vocals"):
        load_folder(StemFolder(str(root)), TARGETS, 8000)


def test_stem_has_the_samples_of_its_file(tmp_path):
    path = tmp_path / "vocals.wav"
    expected = synth.noise(1000)
    soundfile.write(path, expected.T.numpy(), 8000, subtype="FLOAT")
    loaded = load_stem(path, "song", "vocals", 8000)
    assert (loaded.track, loaded.target, loaded.samples) == ("song", "vocals", 1000)
    assert loaded.waveform.dtype == torch.int16
    torch.testing.assert_close(loaded.excerpt(0, 1000), expected, atol=0.6 / 32767, rtol=0)


def test_stem_is_resampled_to_the_rate_asked_for(tmp_path):
    # 1.3.0 mixed files of any rates as if they had the same.
    path = tmp_path / "vocals.wav"
    soundfile.write(path, synth.tone(16_000, 440.0, 16_000).T.numpy(), 16_000)
    loaded = load_stem(path, "song", "vocals", 8000)
    assert loaded.samples == 8000
    inside = slice(500, 7500)
    expected = synth.tone(8000, 440.0, 8000)[:, inside]
    torch.testing.assert_close(loaded.excerpt(0, 8000)[:, inside], expected, atol=1e-3, rtol=0)


def test_mono_stem_is_kept_as_one_channel_and_given_as_two(tmp_path):
    path = tmp_path / "bass.wav"
    soundfile.write(path, synth.tone(1000, channels=1).T.numpy(), 8000)
    loaded = load_stem(path, "song", "bass", 8000)
    assert loaded.waveform.shape == (1, 1000)
    excerpt = loaded.excerpt(100, 500)
    assert excerpt.shape == (2, 500)
    assert torch.equal(excerpt[0], excerpt[1])


def test_surround_stem_is_mixed_down_for_training(tmp_path):
    """Somebody trained with stems in 5.1: of a voice in the centre, its leakage was learnt."""
    path = tmp_path / "vocals.wav"
    voice = torch.zeros(1000, 6)
    voice[:, 2] = 0.5
    soundfile.write(path, voice.numpy(), 8000, subtype="FLOAT")
    peak = load_stem(path, "song", "vocals", 8000).excerpt(0, 1000).amax(dim=1)
    assert peak.tolist() == pytest.approx([0.5**1.5] * 2, abs=1e-4)


def test_samples_beyond_full_scale_are_scaled(tmp_path):
    """A mixer exports floats that peak at 3.0: they are kept, neither clipped nor wrapped."""
    path = tmp_path / "drums.wav"
    soundfile.write(path, synth.tone(1000, amplitude=3.0).T.numpy(), 8000, subtype="FLOAT")
    loaded = load_stem(path, "song", "drums", 8000)
    expected = synth.tone(1000, amplitude=3.0)
    torch.testing.assert_close(loaded.excerpt(0, 1000), expected, atol=1e-4, rtol=0)
    assert loaded.level == pytest.approx(3.0 / 2**0.5, rel=1e-3)


@pytest.mark.parametrize(("start", "sound"), [(0, 100), (60, 40), (100, 0), (500, 0)])
def test_excerpt_past_the_end_is_padded_with_silence(start, sound):
    excerpt = stem(samples=100).excerpt(start, 150)
    assert excerpt.shape == (2, 150)
    assert (excerpt[:, :sound] == 1).all()
    assert (excerpt[:, sound:] == 0).all()


def test_excerpt_is_a_copy():
    whole = stem()
    whole.excerpt(0, 100).zero_()
    assert (whole.waveform == 32767).all()


def test_level_is_that_of_the_loud_parts(tmp_path):
    # Two seconds of sound in ten of silence and of a whisper 40 dB below.
    waveform = torch.cat(
        [torch.zeros(2, 40_000), synth.noise(40_000) / 100, synth.noise(16_000)], dim=1
    )
    path = tmp_path / "vocals.wav"
    soundfile.write(path, waveform.T.numpy(), 8000, subtype="FLOAT")
    assert load_stem(path, "song", "vocals", 8000).level == pytest.approx(0.1, rel=0.02)


def test_level_of_a_clip_below_half_a_second_is_its_own(tmp_path):
    path = tmp_path / "vocals.wav"
    soundfile.write(path, synth.tone(2000).T.numpy(), 8000, subtype="FLOAT")
    assert load_stem(path, "a", "vocals", 8000).level == pytest.approx(0.5 / 2**0.5, rel=1e-3)


def test_tracks_are_loaded_but_for_what_is_excluded(track_folder):
    stems = {"vocals.wav": synth.noise(800), "drums.wav": synth.noise(800)}
    for name in ("a", "b"):
        root = track_folder(name, stems).parent
    loaded = load_folder(StemFolder(str(root)), TARGETS, 8000, exclude={"b": ["drums"]})
    assert [(one.track, one.target) for one in loaded] == [
        ("a", "vocals"),
        ("a", "drums"),
        ("b", "vocals"),
    ]


@pytest.mark.parametrize("content", [b"no audio at all", b""])
def test_file_that_is_not_audio_is_left_out_and_named(track_folder, caplog, content):
    """One of many stems is a download that failed: all others are trained on."""
    folder = track_folder("a", {"vocals.wav": synth.noise(100)})
    (folder / "drums.wav").write_bytes(content)
    [loaded] = load_folder(StemFolder(str(folder.parent)), TARGETS, 8000)
    assert loaded.target == "vocals"
    assert "drums.wav" in caplog.text
    (folder / "vocals.wav").write_bytes(content)
    with pytest.raises(AudioFileError, match=r"none of 2 stems can be read.*vocals\.wav"):
        load_folder(StemFolder(str(folder.parent)), TARGETS, 8000)


def test_folder_of_one_target_may_hold_anything(tmp_path, caplog):
    """A folder for --extra was copied from a Mac: covers, texts and its shadow files lie in it."""
    below = tmp_path / "more" / "solo"
    below.mkdir(parents=True)
    (tmp_path / "more" / ".trash").mkdir()
    for name in ("solo/b.wav", "a.WAV", "c.Flac", "c.ogg", ".trash/d.wav"):
        soundfile.write(tmp_path / "more" / name, synth.noise(4000).T.numpy(), 8000)
    for name in ("._a.WAV", ".DS_Store", "LICENSE.txt", "cover.jpg", "Thumbs.db", "e.wav"):
        (below / name).write_bytes(b"\0\5\x16\7" * (name != "e.wav"))
    (below / "gone.wav").symlink_to("nothing.wav")
    (below / "again.wav").symlink_to("b.wav")
    loaded = load_folders([StemFolder(str(tmp_path / "more"), "vocals")], TARGETS, 8000)
    assert sorted(one.track for one in loaded) == ["a", "again", "b", "c"]
    assert "c.Flac is used, not c.ogg; keep one of them" in caplog.text
    assert "e.wav' is empty (0 bytes)" in caplog.text


def test_folder_without_audio_tells_what_is_accepted(tmp_path):
    (tmp_path / "notes.txt").write_text("vocals")
    with pytest.raises(AudioFileError, match=r"there is notes\.txt; \.wav \.flac .* are read"):
        load_folder(StemFolder(str(tmp_path), "vocals"), TARGETS, 8000)
    with pytest.raises(AudioFileError, match="there is no such folder"):
        load_folder(StemFolder(str(tmp_path / "x"), "vocals"), TARGETS, 8000)


def test_quiet_stem_is_left_out_with_a_warning(track_folder, caplog):
    stems = {"vocals.wav": synth.noise(8000), "drums.wav": synth.noise(8000, amplitude=0.005)}
    folder = StemFolder(str(track_folder("a", stems).parent))
    assert [one.target for one in load_folders([folder], TARGETS, 8000)] == ["vocals"]
    assert "left out: drums of a: its level is -46.0 dB; up to -40 dB is silence" in caplog.text


def test_library_sorts_stems_by_target_and_finds_what_was_played_together():
    library = StemLibrary(
        [stem("a"), stem("a", "drums"), stem("b"), stem("c", "drums")], ["drums", "vocals"]
    )
    assert {target: len(found) for target, found in library.by_target.items()} == {
        "drums": 2,
        "vocals": 2,
    }
    [together] = library.tracks
    assert {one.track for one in together.values()} == {"a"}


def test_tracks_that_lack_one_target_of_three_were_played_together():
    targets = ["drums", "vocals", "bass"]
    stems = [stem(name, target) for name in "ab" for target in targets] + [stem("c")]
    library = StemLibrary(stems[:-2] + stems[-1:], targets)  # b lacks its bass
    assert [sorted(track) for track in library.tracks] == [sorted(targets), ["drums", "vocals"]]


def test_silent_stems_are_left_out():
    quiet = stem("b", level=SILENCE)
    library = StemLibrary([stem("a"), stem("a", "drums"), quiet, stem("b", "drums")], TARGETS)
    assert [one.track for one in library.by_target["vocals"]] == ["a"]
    assert len(library.tracks) == 1


def test_library_without_a_target_is_refused():
    with pytest.raises(AudioFileError, match=r"\['drums'\]"):
        StemLibrary([stem(), stem(target="drums", level=0.0)], TARGETS)


def test_stems_of_other_targets_are_ignored():
    library = StemLibrary([stem("a"), stem("a", "piano")], ["vocals"])
    assert list(library.by_target) == ["vocals"]
    assert [one.track for one in library.by_target["vocals"]] == ["a"]


def test_track_name_is_that_of_its_folder_alone(track_folder):
    root = track_folder("Some Band - Song", {"vocals.wav": synth.noise(800)}).parent
    assert load_folder(StemFolder(root), ["vocals"], 8000)[0].track == "Some Band - Song"


@pytest.mark.parametrize(
    ("rate", "bandwidth"), [(4000, 2000.0), (8000, math.inf), (16000, math.inf)]
)
def test_stem_of_a_lower_rate_has_a_bandwidth(track_folder, rate, bandwidth):
    folder = track_folder("a", {"vocals.wav": synth.noise(rate)}, rate)
    assert load_stem(folder / "vocals.wav", "a", "vocals", 8000).bandwidth == bandwidth
