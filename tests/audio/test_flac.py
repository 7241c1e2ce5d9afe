"""FLAC files whose header states another length than their frames have."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers.files import LENGTH, RATE, encode, music, read, write

from openunmix import audio
from openunmix.errors import AudioFileError

ID3 = b"ID3\x04\0\0\0\0\0\x0f" + b"TIT2\0\0\0\5\0\0\3Song"
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)


def stating(content: bytes, samples: int) -> bytes:
    """The same with another total in STREAMINFO (RFC 9639, section 8.2)."""
    total = int.from_bytes(content[21:26], "big") & ~(2**36 - 1) | samples
    return content[:21] + total.to_bytes(5, "big") + content[26:]


@pytest.fixture
def flac(tmp_path):
    return write(tmp_path / "a.flac", music(3 * LENGTH))


@pytest.mark.parametrize("total", [0, LENGTH, 3 * LENGTH + 5, 6 * LENGTH, 2**36 - 1])
@pytest.mark.parametrize("before", [b"", ID3], ids=["", "id3"])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125), APE, bytes(200_000)],
                         ids=["", "id3v1", "ape", "zeros"])  # fmt: skip
def test_flac_whose_header_does_not_know_the_length_is_read_whole(flac, total, before, behind):
    """Recorders and pipes state 0, stream copies that of the original: "psf_fseek() failed"."""
    whole = read(flac)
    flac.write_bytes(before + stating(flac.read_bytes(), total) + behind)
    assert audio.probe(flac).samples == 3 * LENGTH
    np.testing.assert_array_equal(read(flac), whole)
    np.testing.assert_array_equal(read(flac, start=1, duration=0.5), whole[:, RATE : RATE * 3 // 2])


def test_flac_of_an_encoder_that_writes_to_a_pipe_is_read(tmp_path):
    path = encode(tmp_path / "a.flac", music(), "flac", "stereo", "flac")
    whole = read(path)
    path.write_bytes(stating(path.read_bytes(), 0))
    assert audio.probe(path).samples == LENGTH
    np.testing.assert_array_equal(read(path), whole)


def test_stream_copy_from_the_middle_of_a_flac_is_read(flac, tmp_path):
    """Its frames do not begin with number 0, and its header has the length of the original."""
    import av

    whole, path = read(flac), tmp_path / "b.flac"
    with av.open(str(flac)) as source, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.audio[0])
        packets = [packet for packet in source.demux(audio=0) if packet.size]
        for packet in packets[10:30]:
            packet.stream = stream
            copy.mux(packet)
    first, last = 10 * packets[0].duration, 30 * packets[0].duration
    assert audio.probe(path).samples == last - first
    np.testing.assert_array_equal(read(path), whole[:, first:last])


@pytest.mark.parametrize("total", [0, 3 * LENGTH, 6 * LENGTH])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)], ids=["", "id3v1"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_flac_that_is_cut_short_says_so_at_once(flac, total, behind, kept):
    """It said "lost sync", after an hour of separating."""
    content = stating(flac.read_bytes(), total)
    flac.write_bytes(content[: int(kept * len(content))] + behind)
    with pytest.raises(AudioFileError, match=r"a\.flac' is cut short: .*samples?|in a frame"):
        audio.probe(flac)


def test_flac_without_its_last_bytes_is_cut_short(flac):
    flac.write_bytes(flac.read_bytes()[:-7])
    with pytest.raises(AudioFileError, match="cut short"):
        read(flac)


@pytest.mark.parametrize("length", [1, 15, 4096, 4097, 60001])
@pytest.mark.parametrize("rate", [8000, 12345, 44100, 65535, 96000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_frames_of_every_shape_are_counted(tmp_path, length, rate, channels):
    path = write(tmp_path / "a.flac", music(length, channels), rate)
    path.write_bytes(stating(path.read_bytes(), 0))
    assert audio.probe(path).samples == length
