"""Formats of other programs, and broken files: an error that names them, or all their audio."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.files import FORMATS, LENGTH, RATE, encode, lag, music, read, snr, write

from openunmix import audio
from openunmix.audio._spliced import SplicedFile
from openunmix.errors import AudioFileError


def test_module_loads_no_codec():
    code = (
        "import sys, openunmix.audio\n"
        "print([n for n in ('soundfile', 'soxr', 'av', 'mutagen') if n in sys.modules])"
    )
    root = Path(importlib.util.find_spec("openunmix").origin).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("codec", "container", "extension"), [
    ("alac", "ipod", ".m4a"), ("pcm_s16le", "mov", ".mov"), ("pcm_u8", "avi", ".avi"),
    ("flac", "matroska", ".mkv"), ("pcm_f32le", "matroska", ".mka"), ("pcm_s24le", "mov", ".mov"),
])  # fmt: skip
def test_every_sample_format_of_ffmpeg_becomes_float(tmp_path, codec, container, extension):
    path = encode(tmp_path / f"a{extension}", music(), codec, "stereo", container)
    values = read(path)
    assert values.shape == (2, LENGTH)
    assert snr(music(), values) > (35 if codec == "pcm_u8" else 80)


def test_opus_in_webm_starts_and_ends_with_the_music(tmp_path):
    block = music(rate=48000)
    path = encode(tmp_path / "a.webm", block, "libopus", "stereo", "webm", rate=48000)
    assert read(path).shape == block.shape
    assert lag(block, read(path)) == 0


def test_windows_media_and_raw_aac_are_read(tmp_path):
    for name, codec, container in (("a.wma", "wmav2", "asf"), ("a.aac", "aac", "adts")):
        path = encode(tmp_path / name, music(), codec, "stereo", container)
        values = read(path)
        shift = lag(music(), values)
        common = min(values.shape[1] - shift, LENGTH) - 4096
        assert snr(music()[:, 4096:common], values[:, 4096 + shift : common + shift]) > 15


def test_fragmented_mp4_without_a_length_is_read(tmp_path):
    flags = "frag_keyframe+empty_moov+default_base_moof"
    path = encode(tmp_path / "a.mp4", music(), "aac", "stereo", "mp4", movflags=flags)
    assert LENGTH <= read(path).shape[1] < LENGTH + 2048


def test_stream_that_the_file_does_not_have_is_an_error(tmp_path):
    for name in ("a.wav", "a.m4a"):
        path = write(tmp_path / name, music())
        np.testing.assert_array_equal(read(path, stream=0), read(path))
        for stream in (1, 7, -1):
            with pytest.raises(AudioFileError, match=f"no audio stream {stream}: it has 1"):
                read(path, stream=stream)


def test_mp3_without_a_length_in_its_header_is_read_to_the_end(tmp_path):
    """An estimate from the first frame cuts music that gets louder: read what is there."""
    block = music(3 * RATE) * np.repeat([[0.0, 1.0, 1.0]], RATE, axis=1).astype(np.float32)
    path = encode(tmp_path / "a.mp3", block, "libmp3lame", "stereo", "mp3", write_xing="0")
    assert LENGTH < 3 * RATE <= read(path).shape[1] < 3 * RATE + 4 * 1152


def test_content_and_not_the_extension_decides(tmp_path):
    for extension, disguise in ((".wav", ".mp3"), (".m4a", ".wav"), (".mp3", ".raw"), (".wav", "")):
        path = write(tmp_path / f"a{extension}", music())
        whole = read(path)
        disguised = path.rename(tmp_path / f"b{disguise}")
        np.testing.assert_array_equal(read(disguised), whole)
    write(tmp_path / "c.wav", music()).rename(tmp_path / "c.raw")
    assert read(tmp_path / "c.raw").shape == (2, LENGTH)


@pytest.mark.parametrize("text", [
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile {}\n",
])  # fmt: skip
def test_playlists_lead_nowhere(tmp_path, text):
    write(tmp_path / "a.wav", music())
    playlist = tmp_path / "list.m4a"
    playlist.write_text(text.format("a.wav"))
    with pytest.raises(AudioFileError, match=r"list\.m4a"):
        read(playlist)


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


def test_damage_before_the_first_frame_is_harmless(tmp_path):
    """It was remembered, and raised with the second frame."""
    path = write(tmp_path / "a.m4a", music(3 * RATE))
    whole, content = read(path), bytearray(path.read_bytes())
    begin = content.find(b"mdat") + 4
    content[begin : begin + 16] = bytes(range(255, 239, -1))
    path.write_bytes(content)
    assert read(path).shape == whole.shape


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
    with SplicedFile(write(tmp_path / "a.wav", music(100))) as file:
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
