"""Recordings: excerpts at any rate, and the cache of decoded files."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import files
from helpers.sounds import noise, tone
from hypothesis import given
from hypothesis import strategies as st

from openunmix.audio import AudioSource, read_audio, resample, write_stem_mp4
from openunmix.data import load_audio, load_info
from openunmix.data.recordings import Recording, decoded_folder, to_channels
from openunmix.errors import AudioFileError

RATE = 8000


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a waveform to a file."""

    def write(name, waveform, sample_rate=RATE):
        # As floats where that is possible, so that nothing is lost.
        subtype = "FLOAT" if name.endswith("wav") else None
        soundfile.write(tmp_path / name, waveform.T.numpy(), sample_rate, subtype=subtype)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_info_of_1_3_0_tells_rate_length_and_channels(write, name):
    path = write(name, noise(3 * RATE))
    info = {"samplerate": RATE, "samples": 3 * RATE, "channels": 2, "duration": 3.0}
    assert load_info(str(path)) == info


@pytest.mark.parametrize("dur", [1.0, 2.0, None])
@pytest.mark.parametrize("with_info", [True, False])
def test_audio_of_1_3_0_has_the_duration_asked_for(write, dur, with_info):
    path = write("a.wav", noise(3 * RATE, 1))
    audio, rate = load_audio(str(path), dur=dur, info=load_info(path) if with_info else None)
    assert rate == RATE
    assert audio.shape == (1, int((dur or 3) * RATE))


@pytest.mark.parametrize("dur", [None, 0.0, -1.0])
def test_start_counts_without_a_duration(write, dur):
    # 1.3.0 began at 0 then, and failed for a duration that was not positive.
    waveform = noise(2 * RATE)
    audio, _ = load_audio(write("a.wav", waveform), start=0.5, dur=dur)
    assert torch.equal(audio, waveform[:, RATE // 2 :])


def test_excerpt_is_exact_at_the_own_rate(write):
    waveform = noise(RATE)
    recording = Recording.open(AudioSource(write("a.wav", waveform)))
    assert torch.equal(recording.read(123, 4567, RATE), waveform[:, 123 : 123 + 4567])


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 7999, 4000])
@pytest.mark.parametrize("start", [0, 1, 1234, "last"])
def test_excerpt_at_another_rate_is_that_of_the_whole_file(write, rate, start):
    waveform = noise(2 * RATE)
    recording = Recording.open(AudioSource(write("a.wav", waveform)))
    whole = resample(waveform, RATE, rate)
    assert recording.length(rate) == whole.shape[-1]
    start = whole.shape[-1] - 1000 if start == "last" else start
    excerpt = recording.read(start, 1000, rate)
    # Filters are longer than the margin by a rest 80 dB below the signal.
    torch.testing.assert_close(excerpt, whole[:, start : start + 1000], atol=1e-5, rtol=0)


def test_stems_of_an_mp4_are_its_streams(tmp_path, write):
    stems = {f"s{k}": tone(44100, 500.0 * k, 44100, 0.1) for k in range(1, 5)}
    paths = {name: write(f"{name}.wav", stem, 44100) for name, stem in stems.items()}
    mixture = write("mixture.wav", sum(stems.values()), 44100)
    path = tmp_path / "song.stem.mp4"
    write_stem_mp4(path, mixture, paths)
    for stream, name in enumerate(stems, start=1):
        found = Recording.open(AudioSource(path, stream))
        excerpt = found.read(10000, 20000, 44100)
        assert excerpt.shape == (2, 20000)
        assert float((excerpt - stems[name][:, 10000:30000]).abs().max()) < 0.02  # AAC
    assert load_info(path)["duration"] == pytest.approx(1, abs=0.1)


def test_file_without_a_length_is_measured(write, monkeypatch):
    path = write("a.wav", noise(RATE))
    from openunmix.audio import _ffmpeg, decoders

    monkeypatch.setattr(decoders, "_SNDFILE_MAGIC", ())  # FFmpeg, told not to know the length
    monkeypatch.setattr(
        _ffmpeg, "_describe", lambda *_: _ffmpeg.AudioInfo(RATE, 2, None, "x", "x", ())
    )
    assert Recording.open(AudioSource(path)).samples == RATE


def test_file_that_became_shorter_is_named(write):
    recording = Recording.open(AudioSource(write("a.wav", noise(RATE))))
    write("a.wav", noise(RATE // 2))
    with pytest.raises(AudioFileError, match=r"a\.wav.* ends 0.500 s before its length of 1.000 s"):
        recording.read(0, RATE, RATE)


def test_file_that_is_no_audio_is_named(tmp_path):
    Path(tmp_path, "a.wav").write_text("no audio")
    with pytest.raises(AudioFileError, match=r"a\.wav"):
        load_info(tmp_path / "a.wav")


@given(present=st.integers(1, 6), wanted=st.integers(1, 2))
def test_any_layout_fits_one_or_two_channels(present, wanted):
    audio = torch.from_numpy(np.eye(present, dtype=np.float32))
    result = to_channels(audio, wanted)
    assert result.shape == (wanted, present)
    if wanted == 1:
        wanted_mix = to_channels(audio, 2).mean(dim=0, keepdim=True)  # surround is downmixed first
        torch.testing.assert_close(result, wanted_mix)


def test_mono_is_duplicated_and_stereo_averaged():
    mono, stereo = noise(10, 1), noise(10, 2)
    assert torch.equal(to_channels(mono, 2), mono.expand(2, -1))
    assert torch.equal(to_channels(mono, 4), mono.expand(4, -1))
    torch.testing.assert_close(to_channels(stereo, 1)[0], (stereo[0] + stereo[1]) / 2)
    surround = torch.eye(6)
    assert float(to_channels(surround, 2)[0, 2]) == pytest.approx(math.sqrt(0.5))


def test_channels_cannot_be_invented():
    with pytest.raises(ValueError, match="cannot make 4 channels of 2"):
        to_channels(noise(10), 4)


@pytest.mark.parametrize("kind", ["ogg", "mp3", "rate"])
def test_what_cannot_be_read_in_parts_is_converted_once(tmp_path, monkeypatch, kind):
    # An excerpt of a stream needs all that is before it: 1.3.0 sought and hoped.
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "decoded"))
    sound, rate = files.music(), 16000 if kind == "rate" else files.RATE
    path = tmp_path / f"a.{'wav' if kind == 'rate' else kind}"
    files.write(path, sound)
    recording = Recording.open(AudioSource(path))
    assert not recording.is_direct(rate)
    whole = recording.read(0, recording.length(rate), rate)
    clip = read_audio(path)
    expected = resample(clip.waveform, files.RATE, rate)
    assert torch.equal(whole[:, : expected.shape[-1]], expected)
    (converted,) = (tmp_path / "decoded").iterdir()
    before = converted.stat().st_mtime_ns
    assert torch.equal(recording.read(5000, 700, rate), whole[:, 5000:5700])
    assert [p.stat().st_mtime_ns for p in (tmp_path / "decoded").iterdir()] == [before]


def test_file_that_was_changed_is_converted_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "decoded"))
    path = files.write(tmp_path / "a.wav", files.music(files.RATE))
    first = Recording.open(AudioSource(path)).read(0, 100, 8000)
    files.write(path, 0.5 * files.music(files.RATE))
    os.utime(path, ns=(1, 1))
    second = Recording.open(AudioSource(path)).read(0, 100, 8000)
    torch.testing.assert_close(second, 0.5 * first, atol=1e-3, rtol=0)


def test_conversion_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "decoded"))
    path = files.write(tmp_path / "a.wav", files.music(files.RATE))
    recording = Recording.open(AudioSource(path))
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(AudioFileError, match=r"a\.wav.* is cut short"):
        recording.read(0, 100, 8000)
    path.unlink()
    with pytest.raises(AudioFileError, match=r"a\.wav cannot be read: No such file"):
        recording.read(0, 100, 8000)
    assert list((tmp_path / "decoded").iterdir()) == []


def test_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "file" / "decoded"))
    recording = Recording.open(
        AudioSource(files.write(tmp_path / "a.wav", files.music(files.RATE)))
    )
    with pytest.raises(AudioFileError, match=r"Not a directory.*OPENUNMIX_DECODED"):
        recording.read(0, 100, 8000)


def test_converted_files_are_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("OPENUNMIX_DECODED")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert decoded_folder() == Path.home() / ".cache/openunmix/decoded"
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert decoded_folder() == Path("/somewhere/openunmix/decoded")
