"""Ogg files of several streams: chained one after the other, or multiplexed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.files import LENGTH, RATE, encode, music, read, write

from openunmix import audio
from openunmix.audio._ogg import audio_links
from openunmix.errors import AudioFileError


def chain(path: Path, *links: Path) -> Path:
    path.write_bytes(b"".join(link.read_bytes() for link in links))
    return path


def page(flags: int, body: bytes) -> bytes:
    """A page of a stream of another kind (RFC 3533, section 6)."""
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, 99, 0, 0, 1)
    return head + bytes([len(body)]) + body


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_chained_links_are_all_read(tmp_path, codec):
    """Somebody joined recordings with cat, or recorded a radio: only the first link was read."""
    first, second = tmp_path / "1.ogg", tmp_path / "2.ogg"
    soundfile.write(first, music(rate=48000).T, 48000, format="OGG", subtype=codec)
    soundfile.write(second, music(30011, rate=48000).T, 48000, format="OGG", subtype=codec)
    path = chain(tmp_path / "a.ogg", first, second, first)
    whole = np.concatenate([read(first), read(second), read(first)], axis=1)
    assert audio.probe(path).samples == whole.shape[1] == 2 * LENGTH + 30011
    np.testing.assert_array_equal(read(path), whole)
    np.testing.assert_array_equal(read(path, start=1.5, duration=1), whole[:, 72000:120000])


def test_chained_flac_in_ogg_is_all_read(tmp_path):
    """libsndfile does not read FLAC in Ogg: FFmpeg decodes each link."""
    link = encode(tmp_path / "1.oga", music(), "flac", "stereo", "oga")
    path = chain(tmp_path / "a.oga", link, link)
    np.testing.assert_array_equal(read(path), np.tile(read(link), (1, 2)))


def test_video_beside_vorbis_does_not_shift_it(tmp_path):
    """Theora beside Vorbis: the first 2688 samples were missing."""
    sound = write(tmp_path / "1.ogg", music())
    content = sound.read_bytes()
    starts = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    pages = [content[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
    video = [page(2, b"\x80theora"), *(page(0, bytes(200)) for _ in pages[2:]), page(4, b"end")]
    mixed = [video[0], pages[0], pages[1]]
    for one, other in zip(video[1:], pages[2:], strict=False):
        mixed += [one, other]
    path = tmp_path / "a.ogv"
    path.write_bytes(b"".join(mixed))
    np.testing.assert_array_equal(read(path), read(sound))
    assert audio.probe(path).streams == 1


def test_second_stream_of_a_link_can_be_chosen(tmp_path):
    parts = [write(tmp_path / f"{k}.ogg", k * music() / 3).read_bytes() for k in (1, 2)]
    split = [[b"OggS" + p for p in content.split(b"OggS")[1:]] for content in parts]
    path = tmp_path / "a.ogg"  # both streams begin before one goes on
    path.write_bytes(b"".join([split[0][0], split[1][0], *split[0][1:], *split[1][1:]]))
    for stream in (0, 1):
        np.testing.assert_array_equal(
            read(path, stream=stream), read(tmp_path / f"{stream + 1}.ogg")
        )
    with pytest.raises(AudioFileError, match="has no audio stream 2: it has 2"):
        read(path, stream=2)


@pytest.mark.parametrize(("channels", "rate"), [(1, RATE), (2, 48000)])
def test_links_that_do_not_fit_are_named(tmp_path, channels, rate):
    first = write(tmp_path / "1.ogg", music())
    other = write(tmp_path / "2.ogg", music(channels=channels), rate)
    path = chain(tmp_path / "a.ogg", first, other)
    wanted = rf"a\.ogg' changes from 2 channels at 44100 Hz to {channels} at {rate} Hz"
    with pytest.raises(AudioFileError, match=wanted):
        audio.probe(path)


def test_what_is_between_pages_is_passed_over(tmp_path):
    link = write(tmp_path / "1.ogg", music())
    path = tmp_path / "a.ogg"
    path.write_bytes(link.read_bytes() + bytes(range(256)) * 20 + link.read_bytes())
    assert len(audio_links(path)) == 2
    assert read(path).shape[1] == 2 * LENGTH
