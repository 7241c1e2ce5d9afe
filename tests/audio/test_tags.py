from __future__ import annotations

import itertools
import logging
import struct

import av
import mutagen
import numpy as np
import pytest
from mutagen.apev2 import BINARY, APEv2, APEValue
from mutagen.id3 import APIC, ID3

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
    "albumartist": ["Various"],
    "discnumber": ["1/2"],
    "composer": ["Bach"],
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
    file.tags["lyrics"] = "la la"
    file.save()
    copy_tags(first, second)
    assert mutagen.File(second).tags["lyrics"] == ["la la"]
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
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_a_huge_cover_is_left_out_and_texts_are_kept(tmp_path):
    first = write(tmp_path / "a.mp3", tags_from=tagged_flac(tmp_path / "t.flac"))
    file = mutagen.File(first)
    file.tags.getall("APIC")[0].data = bytes(17 * 2**20)
    file.save()
    copied = mutagen.File(write(tmp_path / "b.flac", tags_from=first))
    assert copied.tags["title"] == TEXTS["title"]
    assert not copied.pictures


ONE = {name: texts[0].replace("—", "-") for name, texts in TEXTS.items()} | {"artist": "Müller"}
FFMPEG_NAMES = {"tracknumber": "track", "discnumber": "disc", "albumartist": "album_artist"}
APE_NAMES = {"tracknumber": "Track", "albumartist": "Album Artist", "date": "Year"}
INFO_NAMES = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "tracknumber": b"ITRK",
    "date": b"ICRD",
    "genre": b"IGNR",
    "comment": b"ICMT",
}


def encoded(path, container, codec):
    """Write a file with FFmpeg, and the tags that it stores in this container."""
    with av.open(str(path), "w", format=container) as file:
        file.metadata.update({FFMPEG_NAMES.get(name, name): text for name, text in ONE.items()})
        stream = file.add_stream(codec, rate=48000, layout="mono", bit_rate=64000)
        frame = av.AudioFrame.from_ndarray(np.tile(SIGNAL, 3), format="fltp", layout="mono")
        frame.sample_rate = 48000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)


def with_info(path, encoding):
    """Write a WAV with a LIST/INFO chunk, as sound editors do."""
    body = b"INFO"
    for name, chunk in INFO_NAMES.items():
        text = ONE[name].encode(encoding) + b"\0"
        body += chunk + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    content = write(path, depth="16").read_bytes()[8:]
    content += b"LIST" + struct.pack("<I", len(body)) + body
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)


def with_id3_version_1(path):
    """Append 128 bytes of ID3v1: track 3, genre 8 (Jazz)."""
    texts = [ONE["title"], ONE["artist"], ONE["album"]]
    tag = b"TAG" + b"".join(text.encode("latin-1").ljust(30, b"\0") for text in texts)
    tag += b"2024" + ONE["comment"].encode().ljust(28, b"\0") + b"\0\x03\x08"
    path.write_bytes(write(path).read_bytes() + tag)


def with_id3_before(path):
    """Write an AAC stream behind ID3, as radio stations do."""
    encoded(path, "adts", "aac")
    tags = ID3(write(path.with_name("t.mp3"), tags_from=tagged_flac(path.with_name("t.flac"))))
    tags["TPE1"].text = [ONE["artist"]]
    tags["TIT2"].text = [ONE["title"]]
    tags.save(path.with_name("tags"))
    path.write_bytes(path.with_name("tags").read_bytes() + path.read_bytes())


def with_ape(path):
    """Append APEv2 to an MP3."""
    tags = APEv2()
    for name, text in ONE.items():
        tags[APE_NAMES.get(name, name.title())] = text
    tags["Cover Art (Front)"] = APEValue(b"cover.png\0" + PNG, BINARY)
    tags.save(write(path))


FOREIGN = {
    "matroska.mka": lambda path: encoded(path, "matroska", "aac"),
    "web.webm": lambda path: encoded(path, "webm", "libopus"),
    "quicktime.mov": lambda path: encoded(path, "mov", "aac"),
    "windows.wma": lambda path: encoded(path, "asf", "wmav2"),
    "editor.wav": lambda path: with_info(path, "cp1252"),
    "utf-8.wav": lambda path: with_info(path, "utf-8"),
    "old.mp3": with_id3_version_1,
    "old.wav": with_id3_version_1,
    "radio.aac": with_id3_before,
    "gain.mp3": with_ape,
}


def read_back(path):
    """Texts and covers of a file, as a FLAC."""
    file = mutagen.File(write(path.with_name("back.flac"), tags_from=path))
    return dict(file.tags or {}), [picture.data for picture in file.pictures]


@pytest.mark.parametrize("name", FOREIGN)
def test_tags_that_are_not_of_the_format_are_carried_to_every_output(tmp_path, name):
    """Tags of a WAV editor, of ID3v1, Matroska and ADTS were lost: mutagen does not read them."""
    FOREIGN[name](tmp_path / name)
    for extension in EXTENSIONS:
        copy = write(tmp_path / f"out{extension}", tags_from=tmp_path / name)
        texts, covers = read_back(copy)
        for key in ("title", "artist", "album", "genre", "comment"):
            assert texts[key] == [ONE[key]], (extension, key)
        assert texts["date"][0][:4] == "2024"
        assert name == "quicktime.mov" or texts["tracknumber"][0] in ("3", "3/12")
        assert covers == ([PNG] if name in ("radio.aac", "gain.mp3") else [])


@pytest.mark.parametrize(
    ("track", "in_mp4"),
    [
        *(("A1", None), ("-1", None), ("70000", None), ("1" * 5000, None), ("½", None)),
        *(("3 of 12", (3, 12)), ("3/", (3, 0)), ("03/012", (3, 12)), ("1/0", (1, 0))),
        *(("/12", (0, 12)), ("2/70000", (2, 0)), ("3/12 (CD 2)", (3, 12)), ("0", None)),
    ],
)
def test_a_track_number_that_mp4_cannot_store_costs_no_other_tag(tmp_path, track, in_mp4):
    """A vinyl rip has the track "A1": in MP4, all tags and the cover were lost."""
    first = tagged_flac(tmp_path / "a.flac")
    file = mutagen.File(first)
    file["tracknumber"] = file["discnumber"] = [track]
    file.save()
    for extension in EXTENSIONS:
        texts, covers = read_back(write(tmp_path / f"out{extension}", tags_from=first))
        assert {name: texts[name] for name in ("title", "album", "composer")} == {
            name: TEXTS[name] for name in ("title", "album", "composer")
        }
        assert covers == [PNG]
        if extension != ".m4a":
            assert texts["tracknumber"] == [track]
    tags = mutagen.File(tmp_path / "out.m4a").tags
    assert [tags.get(atom) for atom in ("trkn", "disk")] == [in_mp4 and [in_mp4]] * 2


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("date", "circa 1969", "1969"),
        ("date", "unknown", None),
        ("date", "17.05.2024", "2024"),
        ("title", "a\x1b[31m\x07b", "a[31mb"),
        ("comment", "x" * 2**20, None),
        ("album", " \t ", None),
    ],
)
def test_one_odd_text_costs_no_other_tag(tmp_path, name, text, expected):
    """Control characters, essays and years in words are in real files."""
    first = tagged_flac(tmp_path / "a.flac")
    file = mutagen.File(first)
    file[name] = [text]
    file.save()
    texts, covers = read_back(write(tmp_path / "out.mp3", tags_from=first))
    assert texts.get(name) == (expected and [expected])
    assert texts["artist"] == TEXTS["artist"]
    assert covers == [PNG]


def test_covers_that_cannot_be_used_cost_no_text(tmp_path):
    """A damaged picture, the address of one, and one of a kind that MP4 does not have."""
    first = write(tmp_path / "a.ogg", tags_from=tagged_flac(tmp_path / "t.flac"))
    file = mutagen.File(first)
    file["metadata_block_picture"] = ["no base64!", "AAAA"]
    file.save()
    assert read_back(first)[0]["title"] == TEXTS["title"]
    tagged = write(tmp_path / "a.mp3", tags_from=first)
    for mime, data in (("-->", b"http://example.org/"), ("image/webp", b"RIFF....WEBP")):
        tags = ID3(tagged)
        tags.setall("APIC", [APIC(encoding=3, mime=mime, type=3, desc="", data=data)])
        tags.save(tagged)
        texts, covers = read_back(write(tmp_path / "b.m4a", tags_from=tagged))
        assert texts["title"] == TEXTS["title"]
        assert covers == []
