"""MP3 and AAC with something beside their frames."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers.files import LENGTH, encode, music, read

from openunmix import audio
from openunmix.errors import AudioFileError

COVER = np.random.default_rng(3).bytes(200_000)
V1 = b"TAG" + b"x" * 125
LYRICS = b"LYRICSBEGININD0000200" + b"la la la" + b"000029LYRICS200"


def id3(body: bytes) -> bytes:
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame


def ape(body: bytes, head: bool = True) -> bytes:
    item = struct.pack("<II", len(body), 2) + b"Cover Art (Front)\0" + body
    ends = [
        b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)
        for flags in (0xA0000000, 0x80000000 if head else 0)
    ]
    return (ends[0] if head else b"") + item + ends[1]


@pytest.fixture(params=["xing", "no xing", "aac"])
def path(request, tmp_path):
    if request.param == "aac":
        return encode(tmp_path / "a.aac", music(), "aac", "stereo", "adts")
    xing = "1" if request.param == "xing" else "0"
    options = {"write_xing": xing, "id3v2_version": xing and "0"}
    return encode(tmp_path / "a.mp3", music(), "libmp3lame", "stereo", "mp3", **options)


AROUND = {
    "APE at the end": (b"", ape(COVER)), "APE, ID3v1": (b"", ape(COVER) + V1),
    "APE without a head": (b"", ape(COVER, head=False)), "APE in front": (ape(COVER), b""),
    "ID3, APE in front": (id3(COVER) + ape(COVER), b""), "Lyrics3": (b"", LYRICS + V1),
    "two ID3": (id3(b"a") + id3(COVER), b""), "ID3 at the end": (b"", id3(COVER)),
    "zeros": (bytes(5000), bytes(300_000)), "everything": (id3(COVER), ape(COVER) + LYRICS + V1),
}  # fmt: skip


@pytest.mark.parametrize("around", AROUND)
def test_tags_and_padding_around_the_frames_change_nothing(path, around):
    """An APE tag with a cover: "cut short", as the length had been guessed from the bit rate."""
    before, behind = AROUND[around]
    whole, stated = read(path), audio.probe(path).samples
    path.write_bytes(before + path.read_bytes() + behind)
    np.testing.assert_array_equal(read(path), whole)
    assert audio.probe(path).samples == pytest.approx(stated, abs=5000)


FOOT = b"ID3\4\0\x10\0\0\0\x0fTIT2\0\0\0\5\0\0\3Song3DI\4\0\x10\0\0\0\x0f"  # ID3v2.4, section 3.4


@pytest.mark.parametrize("between", [
    b"", id3(b"a"), id3(COVER), ape(COVER), FOOT, V1, V1 + id3(b"a"),
], ids=["", "id3", "cover", "ape", "foot", "v1", "v1 id3"])  # fmt: skip
def test_joined_files_with_their_tags_are_read_to_the_end(path, between):
    """`cat a.mp3 b.mp3`: "is damaged after sample", at the tag in the middle."""
    content = path.read_bytes()
    path.write_bytes(content + content)
    joined = read(path)
    assert joined.shape[1] > 2 * LENGTH
    path.write_bytes(content + between + content)
    values = read(path)
    if not between.startswith(V1):  # which FFmpeg skips itself, with the end of the frame before
        np.testing.assert_array_equal(values, joined)
    assert abs(values.shape[1] - joined.shape[1]) <= 1152


def test_tag_in_the_middle_of_a_stream_loses_no_sample(path):
    whole, content = read(path), path.read_bytes()
    for tag in (id3(b"now playing"), ape(b"now playing")):
        path.write_bytes(content[:5000] + tag + content[5000:])
        np.testing.assert_array_equal(read(path), whole)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("behind", [b"", ape(COVER), V1], ids=["", "ape", "v1"])
def test_mp3_with_a_count_of_frames_that_is_cut_is_an_error(tmp_path, rate, behind):
    path = encode(tmp_path / "a.mp3", music(4 * rate, 1), "libmp3lame", "mono", "mp3", rate=rate)
    content = path.read_bytes()
    assert read(path).shape[1] == 4 * rate
    path.write_bytes(content[: len(content) * 7 // 10] + behind)
    with pytest.raises(AudioFileError, match=r"a\.mp3.*cut short"):
        read(path)


def test_start_beyond_a_guessed_length_is_found(tmp_path):
    """The bit rate of a loud end said 2 s: "it has nothing from start=4 s on"."""
    block = music(6 * 44100)
    block[:, : 5 * 44100] = 0
    path = encode(tmp_path / "a.mp3", block, "libmp3lame", "stereo", "mp3", write_xing="0", q="0")
    assert read(path, start=5).shape[1] > 40000
