"""Headers that do not know the size of the audio: dying recorders, pipes, more than 4 GiB."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import soundfile
from helpers.files import LENGTH, RATE, encode, music, read, write

from openunmix import audio
from openunmix.errors import AudioFileError

ID3 = b"ID3\x04\0\0\0\0\0\x0f" + b"TIT2\0\0\0\5\0\0\3Song"
FMT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4, 16)
LIST = struct.pack("<4sI4s4sI4s", b"LIST", 16, b"INFO", b"INAM", 4, b"Song")


def samples(length: int = LENGTH) -> np.ndarray:
    return np.round(music(length).T * 32767).astype("<i2")


def check(path, expected: np.ndarray) -> None:
    """The file has these samples, and `probe` knows how many."""
    assert audio.probe(path).samples == len(expected)
    np.testing.assert_array_equal(read(path), expected.T.astype(np.float32) / 32768)


def riff(*chunks: bytes, size: int = 0, magic: bytes = b"RIFF") -> bytes:
    return magic + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


def ds64(data: int) -> bytes:
    return struct.pack("<4sIQQQI", b"ds64", 28, data, data, 0, 0)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF])
@pytest.mark.parametrize("before", [b"", ID3], ids=["", "id3"])
def test_wav_of_a_recorder_that_lost_power_goes_to_the_end_of_the_file(tmp_path, size, before):
    """The size of the data was to be written at the end: "has no samples; export it again"."""
    content = samples()
    header = riff(FMT, LIST, b"data" + struct.pack("<I", size))
    (tmp_path / "a.wav").write_bytes(before + header + content.tobytes())
    check(tmp_path / "a.wav", content)


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("sizes", [
    (0, 0xFFFFFFFF), (0, 0), (0, 4 * LENGTH), (4 * LENGTH, 0xFFFFFFFF), (2**64 - 1, 0xFFFFFFFF),
])  # fmt: skip
@pytest.mark.parametrize("before", [b"", ID3], ids=["", "id3"])
def test_rf64_whose_ds64_was_never_filled_in_goes_to_the_end_of_the_file(
    tmp_path, magic, sizes, before
):
    long_size, size = sizes
    content = samples()
    header = riff(ds64(long_size), FMT, b"data" + struct.pack("<I", size), magic=magic)
    (tmp_path / "a.wav").write_bytes(before + header + content.tobytes())
    check(tmp_path / "a.wav", content)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_unfinished_wav_is_read_in_every_coding(tmp_path, subtype):
    soundfile.write(tmp_path / "whole.wav", music(60480).T, RATE, subtype)  # whole blocks of ADPCM
    whole = read(tmp_path / "whole.wav")
    content = bytearray((tmp_path / "whole.wav").read_bytes())
    size = content.find(b"data") + 4
    content[size : size + 4] = content[4:8] = bytes(4)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), whole)


@pytest.mark.parametrize("behind", [b"", LIST, b"junk" * 3000, bytes(200_000)])
def test_what_follows_data_of_a_known_size_is_not_audio(tmp_path, behind):
    content = samples()
    header = riff(b"JUNK" + struct.pack("<I", 3) + bytes(4), FMT, b"data")
    (tmp_path / "a.wav").write_bytes(
        header + struct.pack("<I", content.nbytes) + content.tobytes() + behind
    )
    check(tmp_path / "a.wav", content)


def test_wav_without_samples_does_not_play_its_tags(tmp_path):
    (tmp_path / "a.wav").write_bytes(riff(FMT, b"data" + bytes(4), LIST * 20))
    with pytest.raises(AudioFileError, match="has no samples"):
        read(tmp_path / "a.wav")


def test_mp3_in_a_wav_is_read_like_the_mp3(tmp_path):
    """libsndfile guessed the length from the bit rate: "cut short"."""
    for xing in "10":
        path = encode(tmp_path / "a.mp3", music(), "libmp3lame", "stereo", "mp3", write_xing=xing)
        fmt = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 0x55, 2, RATE, 16000, 1, 0, 0)
        for size in (path.stat().st_size, 0):
            data = b"data" + struct.pack("<I", size) + path.read_bytes()
            (tmp_path / "b.wav").write_bytes(riff(fmt, data))
            np.testing.assert_array_equal(read(tmp_path / "b.wav"), read(path))


def aiff(size: int, frames: int) -> bytes:
    rate = bytes.fromhex("400eac44000000000000")  # 44100 with 80 bits
    common = struct.pack(">4sIhIh", b"COMM", 18, 2, frames, 16) + rate
    return b"FORM\0\0\0\0AIFF" + common + b"SSND" + struct.pack(">III", size, 0, 0)


def au(size: int) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, size, 3, RATE, 2)


def caf(size: int) -> bytes:
    description = struct.pack(">qd4sIIIII", 32, RATE, b"lpcm", 0, 4, 1, 2, 16)
    return b"caff\0\1\0\0desc" + description + b"data" + struct.pack(">qI", size, 0)


def w64(size: int) -> bytes:
    riff = bytes.fromhex("726966662e91cf11a5d628db04c10000")
    wave, fmt, data = (
        name + bytes.fromhex("f3acd3118cd100c04f8edb8a") for name in (b"wave", b"fmt ", b"data")
    )
    return (
        riff + bytes(8) + wave + fmt + struct.pack("<Q", 40) + FMT[8:] + data
        + struct.pack("<Q", size)
    )  # fmt: skip


UNKNOWN = {
    "zero.aiff": (aiff(0, 0), ">i2"), "empty.aiff": (aiff(8, 0), ">i2"),
    "sox.aiff": (aiff(0x7F000008, 0x7F000000 // 4), ">i2"), "id3.aiff": (ID3 + aiff(8, 0), ">i2"),
    "zero.au": (au(0), ">i2"), "max.au": (au(0x7FFFFFFF), ">i2"), "pipe.au": (au(2**32 - 1), ">i2"),
    "pipe.caf": (caf(-1), ">i2"), "empty.caf": (caf(4), ">i2"), "zero.caf": (caf(0), ">i2"),
    "zero.w64": (w64(0), "<i2"), "empty.w64": (w64(24), "<i2"), "pipe.w64": (w64(2**63 - 1), "<i2"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_other_formats_whose_size_was_never_filled_in_go_to_the_end(tmp_path, name):
    header, order = UNKNOWN[name]
    content = samples()
    (tmp_path / name).write_bytes(header + content.astype(order).tobytes())
    check(tmp_path / name, content)


@pytest.mark.parametrize(("name", "header"), [
    ("a.wav", riff(FMT, b"data" + struct.pack("<I", 8 * LENGTH))), ("a.au", au(8 * LENGTH)),
    ("b.wav", riff(ds64(8 * LENGTH), FMT, b"data\xff\xff\xff\xff", magic=b"RF64")),
    ("a.aiff", aiff(8 * LENGTH + 8, 2 * LENGTH)), ("a.caf", caf(8 * LENGTH + 4)),
    ("a.w64", w64(8 * LENGTH + 24)),
])  # fmt: skip
def test_file_with_half_of_the_announced_audio_is_cut_short(tmp_path, name, header):
    (tmp_path / name).write_bytes(header + samples().tobytes())
    with pytest.raises(AudioFileError, match=rf"{name}' is cut short: .*announces {8 * LENGTH} b"):
        audio.probe(tmp_path / name)


BEYOND = 2**32 + 8_000_000  # bytes of audio, 6.8 hours in stereo
LOW = BEYOND % 2**32


@pytest.mark.skipif(os.name == "nt", reason="needs sparse files")
@pytest.mark.parametrize(("name", "header"), [
    ("a.wav", riff(FMT, b"data" + struct.pack("<I", LOW))), ("b.wav", riff(FMT, b"data\0\0\0\0")),
    ("c.wav", riff(FMT, b"data\xff\xff\xff\xff")), ("d.wav", riff(FMT, b"data\0\xf0\xff\x7f")),
    ("e.wav", riff(ds64(0), FMT, b"data\xff\xff\xff\xff", magic=b"RF64")),
    ("f.wav", riff(ds64(LOW), FMT, b"data\xff\xff\xff\xff", magic=b"BW64")),
    ("a.aiff", aiff(LOW + 8, BEYOND // 4)), ("a.au", au(LOW)), ("a.caf", caf(LOW + 4)),
    ("b.caf", caf(-1)), ("a.w64", w64(LOW + 24)), ("b.w64", w64(0)),
])  # fmt: skip
def test_beyond_4_gib_where_32_bits_have_wrapped_all_is_read(tmp_path, name, header):
    """Two seconds of a recording of seven hours were separated, with exit code 0."""
    end = samples(RATE)
    order = ">i2" if name.split(".")[1] in ("aiff", "au", "caf") else "<i2"
    with open(tmp_path / name, "wb") as file:
        file.write(header)
        file.seek(len(header) + BEYOND - end.nbytes)
        file.write(end.astype(order).tobytes())
    assert audio.probe(tmp_path / name).samples == BEYOND // 4
    values = read(tmp_path / name, start=(BEYOND // 4 - RATE) / RATE)
    np.testing.assert_array_equal(values, end.T.astype(np.float32) / 32768)


@pytest.mark.parametrize("extension", [".ogg", ".opus", ".oga"])
@pytest.mark.parametrize("behind", [
    bytes(200_000), bytes(5), b"TAG" + bytes(125), np.random.default_rng(0).bytes(300_000),
], ids=["zeros", "few", "id3v1", "noise"])  # fmt: skip
def test_ogg_with_something_behind_its_last_page_is_whole(tmp_path, extension, behind):
    """A card formatted with zeros: "its last page does not end the Ogg stream"."""
    if extension == ".oga":
        path = encode(tmp_path / "a.oga", music(), "flac", "stereo", "ogg")
    else:
        path = write(tmp_path / f"a{extension}", music())
    whole, content = read(path), path.read_bytes()
    path.write_bytes(content + behind)
    np.testing.assert_array_equal(read(path), whole)
    path.write_bytes(content[: len(content) * 6 // 10] + behind)
    with pytest.raises(AudioFileError, match="cut short"):
        read(path)
