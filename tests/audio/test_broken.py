"""Files that are broken, or no audio: an error that names them, or all that is there."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from helpers.files import FORMATS, LENGTH, RATE, encode, music, read, write

from openunmix import audio
from openunmix.audio import decoders
from openunmix.errors import AudioFileError


def test_missing_file_folder_empty_file_and_pipe_are_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "dir.wav").mkdir()
    cases = {"none.wav": "does not exist", "dir.wav": "is a folder", "empty.wav": "is empty"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        cases["pipe.wav"] = "is not a regular file"
    for name, reason in cases.items():
        for function in (audio.probe, audio.read_audio):
            with pytest.raises(AudioFileError, match=f"{name}' {reason}"):
                function(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_file_is_named(tmp_path):
    path = write(tmp_path / "a.wav", music(100))
    path.chmod(0)
    with pytest.raises(AudioFileError, match="permission denied"):
        audio.probe(path)


def test_what_is_not_audio_is_refused(tmp_path):
    generator = np.random.default_rng(0)
    contents = {
        "text.wav": b"To be, or not to be, that is the question\n" * 100,
        "noise.mp3": generator.bytes(20000),
        "zeros.flac": bytes(20000),
        "short.ogg": b"OggS",
        "riff.wav": b"RIFF\x10\x00\x00\x00WAVEfmt ",
        "byte.m4a": b"\x00",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioFileError, match=name) as caught:
            audio.read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_video_without_sound_is_refused(tmp_path):
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(AudioFileError, match=r"mute\.mp4' has no audio stream"):
        audio.probe(tmp_path / "mute.mp4")


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_truncated_file_is_an_error(tmp_path, extension, kept):
    path = write(tmp_path / f"a{extension}", music(3 * RATE))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioFileError, match=rf"a\{extension}.*(cut short|damaged)"):
        read(path)


def test_truncated_mp4_with_its_index_first_is_an_error(tmp_path):
    path = encode(
        tmp_path / "a.m4a", music(3 * RATE), "aac", "stereo", "ipod", movflags="faststart"
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(AudioFileError, match=r"a\.m4a.*(cut short|damaged)"):
        read(path)


@pytest.mark.parametrize("extension", [".flac", ".ogg", ".mp3", ".m4a"])
def test_damage_in_the_middle_is_an_error(tmp_path, extension):
    path = write(tmp_path / f"a{extension}", music(3 * RATE))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    path.write_bytes(content)
    with pytest.raises(AudioFileError, match=rf"a\{extension}.*(cut short|damaged)"):
        read(path)


def test_junk_around_an_mp3_is_harmless(tmp_path):
    path = write(tmp_path / "a.mp3", music())
    whole = read(path)
    for junk in (b"TAG" + bytes(125), bytes(5000)):
        path.write_bytes(path.read_bytes() + junk)
        values = read(path)
        assert LENGTH <= values.shape[1] < LENGTH + 1152
        np.testing.assert_array_equal(values[:, :LENGTH], whole)


def test_reading_damaged_files_prints_nothing(tmp_path, capfd):
    for extension in FORMATS:
        path = write(tmp_path / f"a{extension}", music())
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + bytes(range(255, -1, -1)) * 20)
        with pytest.raises(AudioFileError):
            read(path)
    assert capfd.readouterr() == ("", "")


def test_impossible_seek_of_a_damaged_file_is_answered_and_not_raised(tmp_path):
    """PyAV printed the traceback of each such seek on stderr; found by fuzzing."""
    with decoders._QuietFile(write(tmp_path / "a.wav", music(100))) as file:
        assert file.seek(-5) == -1
        assert file.read(4) == b"RIFF"


@pytest.mark.parametrize("placeholder", [0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_from_a_pipe_has_no_length_and_is_read(tmp_path, placeholder):
    path = write(tmp_path / "a.wav", music())
    content = bytearray(path.read_bytes())
    size = content.find(b"data") + 4
    content[size : size + 4] = content[4:8] = struct.pack("<I", placeholder)
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), music())


@pytest.mark.parametrize("extension", [".wav", ".flac"])
def test_file_without_samples_is_an_error(tmp_path, extension):
    path = write(tmp_path / f"a{extension}", np.zeros((2, 0), np.float32))
    with pytest.raises(AudioFileError, match=rf"a\{extension}"):
        audio.read_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_reported_with_their_position(tmp_path, value):
    block = music(2 * RATE)
    block[1, RATE + 441] = value
    path = write(tmp_path / "a.wav", block)
    with pytest.raises(
        AudioFileError, match=rf"a\.wav'.*{value} in channel 1 at sample 44541 \(1\.010 s"
    ):
        read(path, start=0.5)


def test_error_messages_are_one_line_whatever_the_name(tmp_path):
    with pytest.raises(AudioFileError) as caught:
        audio.probe(tmp_path / "a\nb\x1b[31m.wav")
    assert str(caught.value).isprintable()
