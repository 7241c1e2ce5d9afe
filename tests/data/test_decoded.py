"""Audio that is converted once: exactly, again when it changes, without leaving anything behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from helpers.files import RATE, music, write

from openunmix.audio import AudioSource, read_audio, resample
from openunmix.data.recordings import Recording, decoded_folder
from openunmix.errors import AudioFileError


@pytest.mark.parametrize("kind", ["ogg", "mp3", "rate"])
def test_what_cannot_be_read_in_parts_is_converted_once(tmp_path, monkeypatch, kind):
    # An excerpt of a stream needs all that is before it: 1.3.0 sought and hoped.
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "decoded"))
    sound, rate = music(), 16000 if kind == "rate" else RATE
    path = tmp_path / f"a.{'wav' if kind == 'rate' else kind}"
    write(path, sound)
    recording = Recording.open(AudioSource(path))
    assert not recording.is_direct(rate)
    whole = recording.read(0, recording.length(rate), rate)
    clip = read_audio(path)
    expected = resample(clip.waveform, RATE, rate)
    assert torch.equal(whole[:, : expected.shape[-1]], expected)
    (converted,) = (tmp_path / "decoded").iterdir()
    before = converted.stat().st_mtime_ns
    assert torch.equal(recording.read(5000, 700, rate), whole[:, 5000:5700])
    assert [p.stat().st_mtime_ns for p in (tmp_path / "decoded").iterdir()] == [before]


def test_file_that_was_changed_is_converted_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "decoded"))
    path = write(tmp_path / "a.wav", music(RATE))
    first = Recording.open(AudioSource(path)).read(0, 100, 8000)
    write(path, 0.5 * music(RATE))
    os.utime(path, ns=(1, 1))
    second = Recording.open(AudioSource(path)).read(0, 100, 8000)
    torch.testing.assert_close(second, 0.5 * first, atol=1e-3, rtol=0)


def test_conversion_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_DECODED", str(tmp_path / "decoded"))
    path = write(tmp_path / "a.wav", music(RATE))
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
    recording = Recording.open(AudioSource(write(tmp_path / "a.wav", music(RATE))))
    with pytest.raises(AudioFileError, match=r"Not a directory.*OPENUNMIX_DECODED"):
        recording.read(0, 100, 8000)


def test_converted_files_are_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("OPENUNMIX_DECODED")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert decoded_folder() == Path.home() / ".cache/openunmix/decoded"
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert decoded_folder() == Path("/somewhere/openunmix/decoded")
