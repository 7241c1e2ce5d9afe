"""Checks of a dataset: which issues are errors, and which are warnings."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.files import encode
from helpers.musdb_database import DB, STREAMS
from helpers.sounds import noise, tone

from openunmix.audio import write_stem_mp4
from openunmix.data import MixingConfig, check_dataset, load_library, synthetic_song
from openunmix.data.stems import StemFolder
from openunmix.errors import AudioFileError

RATE = 8000
SONG_RATE = 16000
FIX = {
    "dataset": "trackfolder_fix",
    "target_file": "vocals.wav",
    "interferer_files": ["bass.wav"],
    "sample_rate": RATE,
    "seq_dur": 1.0,
}


def sound(seed, seconds=3.0, channels=2):
    """Make noise whose level goes up and down, as that of music does."""
    generator = np.random.default_rng(seed)
    steps = generator.uniform(-30, 0, round(8 * seconds) + 2)
    samples = round(seconds * RATE)
    course = np.interp(np.arange(samples) / RATE, np.arange(steps.size) / 8, steps)
    envelope = torch.from_numpy(10 ** (course / 20)).float()
    return noise(samples, channels, seed=seed) * envelope


@pytest.fixture
def root(track_folder):
    """Make two tracks for training and one for validation, all of them good."""
    for place, name in enumerate(["train/a", "train/b", "valid/c"]):
        stems = {"vocals.wav": sound(2 * place), "bass.wav": sound(2 * place + 1)}
        stems["mixture.wav"] = stems["vocals.wav"] + stems["bass.wav"]
        folder = track_folder(name, stems)
    return folder.parents[1]


def checked(root, **options):
    return check_dataset(Namespace(**{**FIX, "root": root, **options}))


def kinds(report, severity=None):
    """Pairs of kind and file name of the issues."""
    return {
        (found.kind, Path(found.path).name)
        for found in report.issues
        if severity in (None, found.severity)
    }


def test_nothing_is_wrong_with_good_tracks(root):
    report = checked(root)
    assert report.issues == ()
    vocals = next(s for s in report.sources if (s.split, s.source) == ("train", "vocals"))
    assert (vocals.files, vocals.sample_rates, vocals.channels) == (2, (RATE,), (2,))
    assert vocals.duration == pytest.approx(6.0)
    assert 5.0 < vocals.non_silent <= 6.0
    assert "No issues found" in report.text()
    assert "train  vocals   2      0:00:06" in report.text()


def test_progress_counts_tracks(root):
    calls = []
    check_dataset(Namespace(**FIX, root=root), progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_split_that_is_missing_or_empty_is_an_error(root, tmp_path):
    Path(tmp_path, "empty", "train").mkdir(parents=True)
    report = checked(tmp_path / "empty")
    assert kinds(report, "error") == {("missing", "train"), ("missing", "valid")}
    assert "no such folder" in report.text()
    assert "2 errors: do not train on this" in report.text()


def test_unusable_files_are_named(root):
    damaged, cut, absent = (root / "train" / name for name in ["a/bass.wav", "b/bass.wav", "c"])
    damaged.write_bytes(b"RIFF and then nothing")
    cut.write_bytes(cut.read_bytes()[:-20000])
    absent.mkdir()
    report = checked(root)
    assert kinds(report) == {
        *[("skipped", name) for name in "abc"],
        ("unusable", "train"),
    }
    text = report.text()
    assert "c: there is no vocals.wav, no bass.wav; there is nothing in it" in text
    assert str(damaged) in text
    assert str(cut) in text


def test_values_that_are_not_finite_are_an_error_with_their_position(root):
    path = root / "train/a/vocals.wav"
    audio, _ = soundfile.read(path)
    audio[5000, 1] = np.nan
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    (error,) = checked(root).errors
    assert (error.kind, error.path) == ("unreadable", str(path))
    assert "channel 1 at sample 5000" in error.message


def test_silence_is_a_warning_and_for_a_whole_source_an_error(root):
    silent = torch.zeros(2, 3 * RATE)
    soundfile.write(root / "train/a/bass.wav", silent.T.numpy(), RATE)
    report = checked(root)
    assert kinds(report) == {("silent", "bass.wav"), ("residual", "mixture.wav")}
    assert report.errors == []
    for track in "ab":
        soundfile.write(root / f"train/{track}/vocals.wav", silent.T.numpy(), RATE)
    (error,) = checked(root).errors
    assert (error.kind, error.message) == ("quiet-source", "vocals is silent in all of 2 files")


def test_clipping_and_offset_are_warnings(root):
    audio, _ = soundfile.read(root / "train/a/vocals.wav")
    soundfile.write(root / "train/a/vocals.wav", np.clip(30 * audio, -1, 1), RATE)
    soundfile.write(root / "train/b/vocals.wav", audio[::-1] + 0.05, RATE)
    report = checked(root)
    found = {(f.kind, f.path) for f in report.issues if f.kind != "residual"}
    assert found == {
        ("clipped", str(root / "train/a/vocals.wav")),
        ("offset", str(root / "train/b/vocals.wav")),
    }
    assert "its mean is 0.0" in report.text()


def test_loud_tone_is_not_clipped(root):
    loud = tone(3 * RATE, 50.0, amplitude=0.9999)
    soundfile.write(root / "train/a/vocals.wav", loud.T.numpy(), RATE)
    assert ("clipped", "vocals.wav") not in kinds(checked(root))


def test_stems_that_do_not_sum_to_the_mixture_are_told_in_decibels(root):
    path = root / "valid/c/mixture.wav"
    audio, _ = soundfile.read(path)
    soundfile.write(path, 0.5 * audio, RATE)  # the rest is as loud as the mixture
    (found,) = checked(root).issues
    assert (found.severity, found.kind, found.path) == ("warning", "residual", str(path))
    assert found.message.startswith("it differs from the sum of its stems by -0.0 dB") or (
        "by 0.0 dB" in found.message
    )


def test_lengths_rates_and_channels_that_differ_are_told(root):
    soundfile.write(root / "train/a/bass.wav", sound(5, 2.0).T.numpy(), RATE)
    soundfile.write(root / "train/b/bass.wav", sound(6, 6.0, 1).T.numpy(), 2 * RATE)
    report = checked(root)
    assert report.errors == []
    assert {
        ("length", "a"),
        ("rates", "b"),
        ("rate", "bass.wav"),
        ("channels", "train"),
    } <= kinds(report)


def test_excerpts_longer_than_all_files_are_an_error(root):
    report = checked(root, seq_dur=4.0)
    assert kinds(report, "error") == {("unusable", "train")}
    assert "it lasts 3.000 s, an excerpt 4.000 s" in report.text()


def test_many_findings_of_a_kind_are_counted(root):
    text = checked(root, sample_rate=44100).text()
    assert text.count("training at 44100 Hz") == 5
    assert "and 4 more" in text


@pytest.mark.parametrize("change", ["same", "level", "coding", "rate", "cut"])
def test_song_in_train_and_valid_is_an_error_however_it_is_stored(tmp_path, change):
    generator = np.random.default_rng(1)
    options = {**FIX, "interferer_files": ["drums.wav"], "sample_rate": SONG_RATE}
    for split, name in [("train", "a"), ("train", "b"), ("valid", "c")]:
        folder = tmp_path / split / name
        folder.mkdir(parents=True)
        song = synthetic_song(generator, 8 * SONG_RATE, SONG_RATE)
        for stem in ("vocals", "drums"):
            soundfile.write(folder / f"{stem}.wav", song[stem].T.numpy(), SONG_RATE)
    assert not checked(tmp_path, **options).issues
    waveform = soundfile.read(tmp_path / "train/a/vocals.wav", dtype="float32")[0].T
    copy = tmp_path / "valid/c/vocals.wav"
    if change == "coding":
        waveform = np.ascontiguousarray(waveform)
        encode(copy, waveform, "libmp3lame", "stereo", "mp3", rate=SONG_RATE)
    elif change == "rate":
        soundfile.write(copy, waveform.T[::2], SONG_RATE // 2)
    elif change == "cut":
        soundfile.write(copy, waveform.T[SONG_RATE:], SONG_RATE)
    else:
        soundfile.write(copy, waveform.T * (0.3 if change == "level" else 1), SONG_RATE)
    (error,) = [f for f in checked(tmp_path, **options).errors if f.kind == "duplicate"]
    assert error.path == str(tmp_path / "train/a")
    assert error.message == f"vocals: the same recording as in {tmp_path / 'valid/c'} of valid"


def test_song_that_is_twice_in_train_is_a_warning(root):
    for stem in ("vocals", "bass"):
        waveform, _ = soundfile.read(root / f"train/a/{stem}.wav")
        soundfile.write(root / f"train/b/{stem}.wav", waveform, RATE)
    found = [f for f in checked(root).warnings if f.kind == "duplicate"]
    assert [(f.path, f.message) for f in found] == [
        (str(root / "train/a"), f"vocals, bass: the same recording as in {root / 'train/b'}")
    ]


def test_mixture_among_variable_stems_is_none_of_them(root):
    report = checked(root, dataset="trackfolder_var", ext=None, silence_missing=False)
    assert report.issues == ()
    assert {s.source for s in report.sources} == {"mixture", "vocals", "bass"}


def test_pairs_of_aligned_files_need_not_sum_up(root):
    report = checked(root, dataset="aligned", input_file="mix*", output_file="vocals.wav")
    assert report.issues == ()
    assert [s.source for s in report.sources] == ["mixture", "vocals", "mixture", "vocals"]


def test_source_folders_need_files_of_every_source(root):
    options = {"dataset": "sourcefolder", "target_dir": "a", "interferer_dirs": ["b"], "ext": "wav"}
    report = checked(root, **options)
    (error,) = report.errors
    assert (error.kind, "no wav files for the source a" in error.message) == ("missing", True)
    assert {(s.split, s.source, s.files) for s in report.sources} == {
        ("train", "a", 3),
        ("train", "b", 3),
    }


def test_stems_may_have_any_format(root):
    options = {"dataset": "stems", "targets": ["vocals", "bass"]}
    (root / "train/a/bass.wav").unlink()
    audio, _ = soundfile.read(root / "train/b/bass.wav")
    soundfile.write(root / "train/a/bass.flac", audio[::-1], RATE)
    report = checked(root, **options)
    assert {(s.split, s.source, s.files) for s in report.sources if s.source == "bass"} == {
        ("train", "bass", 2),
        ("valid", "bass", 1),
    }


STEMS = {"dataset": "stems", "targets": ["vocals", "bass"], "seq_dur": 4.0}


def test_check_of_stems_says_what_training_does(root, caplog):
    """A quiet, a damaged, a short and a mono stem: the check names what training leaves out."""
    soundfile.write(root / "train/a/vocals.wav", noise(3 * RATE, amplitude=0.004).T.numpy(), RATE)
    (root / "train/a/bass.wav").write_bytes(b"RIFF and then nothing")
    soundfile.write(root / "train/b/bass.wav", sound(8, 1.0, 1).T.numpy(), RATE)
    report = checked(root, **STEMS)
    assert report.errors == []
    left_out = {Path(f.path) for f in report.warnings if f.kind == "left-out"}
    assert left_out == {root / "train/a/vocals.wav", root / "train/a/bass.wav"}
    assert ("short", "bass.wav") in kinds(report, "warning")
    library = load_library(root, MixingConfig(), STEMS["targets"], RATE)
    assert {t: [s.track for s in of] for t, of in library.by_target.items()} == {
        "vocals": ["b"],
        "bass": ["b"],
    }
    assert caplog.text.count("left out: ") == 2
    (root / "train/b/bass.wav").unlink()
    assert kinds(checked(root, **STEMS), "error") == {("unusable", "train")}
    with pytest.raises(AudioFileError, match="bass"):
        load_library(root, MixingConfig(), STEMS["targets"], RATE)


def test_check_reads_what_mixing_adds_and_not_what_it_excludes(root, tmp_path):
    (root / "train/a/bass.wav").write_bytes(b"RIFF and then nothing")
    solo = tmp_path / "more" / "solo.flac"
    solo.parent.mkdir()
    soundfile.write(solo, noise(5 * RATE, amplitude=0.001).T.numpy(), RATE)
    mixing = MixingConfig(
        extra=(StemFolder(str(solo.parent), "vocals"),), exclude={"a": ("bass",), "b": ("vocals",)}
    )
    report = checked(root, **{**STEMS, "seq_dur": 1.0}, mixing=mixing)
    assert kinds(report) == {("left-out", "solo.flac")}


def test_streams_of_musdb_are_checked(tmp_path, track_folder, monkeypatch):
    monkeypatch.setattr("openunmix.data.musdb._import_musdb", lambda: Namespace(DB=DB))
    (tmp_path / "train").mkdir()
    names = sorted(STREAMS, key=STREAMS.get)
    for place, name in enumerate(["A", "V"]):
        stems = {stem: noise(2 * 44100, seed=9 * place + k) for k, stem in enumerate(names)}
        if name == "V":
            stems["mixture"] = sum(stems[stem] for stem in names[1:])
        files = {f"{stem}.wav": waveform for stem, waveform in stems.items()}
        folder = track_folder(name, files, 44100)
        stems = {stem: folder / f"{stem}.wav" for stem in names[1:]}
        write_stem_mp4(tmp_path / f"train/{name}.stem.mp4", folder / "mixture.wav", stems)
    report = check_dataset(Namespace(dataset="musdb", root=tmp_path, is_wav=False, seq_dur=1.0))
    assert [(f.kind, Path(f.path).name) for f in report.errors] == [("residual", "A.stem.mp4")]
    assert len(report.sources) == 10


def test_synthetic_songs_need_no_check():
    report = check_dataset(Namespace(dataset="synthetic", root=None))
    assert (report.sources, report.issues) == ((), ())


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="unknown dataset 'tape'"):
        check_dataset(Namespace(dataset="tape", root="."))
    with pytest.raises(ValueError, match="--root is missing"):
        check_dataset(Namespace(dataset="aligned", root=None))
