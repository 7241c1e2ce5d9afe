"""Reading: formats of other programs, positions, blocks."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.files import FORMATS, LENGTH, RATE, encode, lag, music, read, snr, write

from openunmix import audio
from openunmix.errors import AudioFileError


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not allow these names")
def test_odd_file_names_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("http:/x")
    names = ["-.wav", "concat:a|b.m4a", "http://x/a.m4a", "ü ñ 音.flac", "%03d.m4a"]
    names.append(os.fsdecode(b"\xff\xfe.wav") if sys.platform == "linux" else "x.wav")
    for name in names:
        write(Path(name), music())
        for given_name in (name, Path(name)):
            assert read(given_name).shape == (2, LENGTH)


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


@pytest.mark.parametrize("extension", FORMATS)
def test_memory_does_not_grow_with_the_length_of_the_file(tmp_path, extension):
    block = music(RATE, 1)
    with audio.AudioWriter(tmp_path / f"a{extension}", RATE, 1) as writer:
        for _ in range(20):
            writer.write(block)
    audio.read_audio(tmp_path / f"a{extension}", duration=0.1)  # what is imported stays
    tracemalloc.start()
    with audio.AudioReader(tmp_path / f"a{extension}") as reader:
        samples = sum(part.shape[1] for part in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples >= 20 * RATE
    assert peak < 2e6 < 3.5e6 < 4 * samples


def test_reader_closes_its_file(tmp_path):
    path = write(tmp_path / "a.m4a", music())
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with audio.AudioReader(path) as reader:
        next(reader)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


@pytest.mark.parametrize("arguments", [
    {"start": -1.0}, {"start": float("nan")}, {"duration": 0.0}, {"duration": float("inf")},
    {"block": 0},
])  # fmt: skip
def test_senseless_positions_are_refused(tmp_path, arguments):
    path = write(tmp_path / "a.wav", music(100))
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} is"):
        audio.AudioReader(path, **arguments)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("start", [LENGTH / RATE + 0.2, 50.0])
def test_start_beyond_the_end_is_an_error(tmp_path, extension, start):
    path = write(tmp_path / f"a{extension}", music())
    with pytest.raises(
        AudioFileError, match=rf"a\{extension}' lasts 1\.[34]\d+ s; .* start={start:g}"
    ):
        read(path, start=start)
