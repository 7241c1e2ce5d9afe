from __future__ import annotations

import itertools
import logging

import mutagen
import numpy as np
import pytest

from openunmix.audio import AudioWriter, read_audio
from openunmix.audio.tags import copy_tags

EXTENSIONS = [".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wav"]
TEXTS = {
    "title": ["Ode to a Test — über"],
    "artist": ["Someone", "Else"],
    "album": ["Albüm"],
    "tracknumber": ["3/12"],
    "date": ["2024-05-17"],
    "genre": ["Jazz"],
    "comment": ["a comment"],
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SIGNAL = np.sin(np.arange(4410) / 10)[None].astype(np.float32)


def write(path, **options):
    with AudioWriter(path, 48000, 1, **options) as writer:
        writer.write(SIGNAL)
    return path


def tagged_flac(path):
    """A file whose tags are set without our own code."""
    write(path)
    file = mutagen.File(path)
    file.add_tags() if file.tags is None else None
    for name, texts in TEXTS.items():
        file.tags[name] = texts
    back, front = mutagen.flac.Picture(), mutagen.flac.Picture()
    back.type, back.mime, back.data = 4, "image/png", b"the back"
    front.type, front.mime, front.data = 3, "image/png", PNG
    file.add_picture(back)
    file.add_picture(front)
    file.save()
    return path


@pytest.mark.parametrize(("via", "last"), list(itertools.product(EXTENSIONS, EXTENSIONS)))
def test_tags_and_cover_pass_through_every_pair_of_formats(tmp_path, via, last):
    first = tagged_flac(tmp_path / "first.flac")
    second = write(tmp_path / f"second{via}", tags_from=first)
    third = write(tmp_path / f"third{last}", tags_from=second)
    before = read_audio(write(tmp_path / f"plain{last}")).waveform
    assert read_audio(third).waveform.equal(before)
    final = tmp_path / "final.flac"
    write(final, tags_from=third)
    file = mutagen.File(final)
    assert {name: file.tags[name] for name in TEXTS} == TEXTS
    assert [(picture.mime, picture.data) for picture in file.pictures] == [("image/png", PNG)]


def test_standard_frames_are_used(tmp_path):
    first = tagged_flac(tmp_path / "a.flac")
    id3 = mutagen.File(write(tmp_path / "a.mp3", tags_from=first)).tags
    assert id3["TIT2"].text == TEXTS["title"]
    assert id3["TPE1"].text == TEXTS["artist"]
    assert id3.getall("APIC")[0].data == PNG
    mp4 = mutagen.File(write(tmp_path / "a.m4a", tags_from=first)).tags
    assert mp4["\xa9nam"] == TEXTS["title"]
    assert mp4["trkn"] == [(3, 12)]
    assert mp4["covr"][0].imageformat == mutagen.mp4.MP4Cover.FORMAT_PNG
    vorbis = mutagen.File(write(tmp_path / "a.ogg", tags_from=first)).tags
    assert vorbis["artist"] == TEXTS["artist"]
    assert "metadata_block_picture" in vorbis


def test_other_texts_of_the_destination_stay(tmp_path):
    first = tagged_flac(tmp_path / "a.flac")
    second = write(tmp_path / "b.flac")
    file = mutagen.File(second)
    file.tags["composer"] = "Bach"
    file.save()
    copy_tags(first, second)
    assert mutagen.File(second).tags["composer"] == ["Bach"]
    assert mutagen.File(second).tags["title"] == TEXTS["title"]


def test_a_file_without_tags_changes_nothing(tmp_path):
    source, destination = write(tmp_path / "a.wav"), write(tmp_path / "b.mp3")
    content = destination.read_bytes()
    copy_tags(source, destination)
    assert destination.read_bytes() == content


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_damaged_tags_are_skipped_quietly(tmp_path, extension, caplog):
    """No tag may cost a separation, whatever is in it."""
    first = write(tmp_path / f"a{extension}", tags_from=tagged_flac(tmp_path / "t.flac"))
    content = first.read_bytes()
    generator = np.random.default_rng(3)
    destination = write(tmp_path / "b.flac")
    for _ in range(60):
        broken = bytearray(content)
        for place in generator.integers(0, min(len(broken), 4000), 20):
            broken[place] = generator.integers(0, 256)
        first.write_bytes(broken)
        copy_tags(first, destination)
    assert read_audio(destination).waveform.shape == (1, 4410)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_what_cannot_be_tagged_is_left_alone(tmp_path, caplog):
    first = tagged_flac(tmp_path / "a.flac")
    (tmp_path / "b.txt").write_text("no audio")
    with caplog.at_level(logging.DEBUG):
        copy_tags(first, tmp_path / "none.flac")
        copy_tags(tmp_path / "none.flac", first)
        copy_tags(first, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "no audio"
    assert len(caplog.records) == 2


def test_a_huge_cover_is_left_out_and_texts_are_kept(tmp_path):
    first = write(tmp_path / "a.mp3", tags_from=tagged_flac(tmp_path / "t.flac"))
    file = mutagen.File(first)
    file.tags.getall("APIC")[0].data = bytes(17 * 2**20)
    file.save()
    copied = mutagen.File(write(tmp_path / "b.flac", tags_from=first))
    assert copied.tags["title"] == TEXTS["title"]
    assert not copied.pictures
