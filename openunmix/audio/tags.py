"""Copying of title, artist, cover and so on from one file to another, by mutagen and FFmpeg."""

# mypy: allow-untyped-calls
# (mutagen has no annotations)
from __future__ import annotations

import base64
import binascii
import logging
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import mutagen
from mutagen import id3 as frames
from mutagen.apev2 import APENoHeaderError, APEv2
from mutagen.flac import Picture
from mutagen.id3 import ID3, ID3NoHeaderError
from mutagen.mp4 import MP4Cover, MP4Tags

from openunmix.audio._paths import StrPath, quote
from openunmix.audio._spliced import SplicedFile

_logger = logging.getLogger(__name__)


class _Name(NamedTuple):
    """Names of one text, and of the total that ID3 and MP4 store with it."""

    vorbis: str  # FLAC, Ogg
    id3: str  # MP3, WAV, AIFF, AAC
    mp4: str
    others: str = ""  # APEv2, ASF, and what FFmpeg calls it in the rest, in lower case
    totals: str = ""


_NAMES = (
    _Name("title", "TIT2", "\xa9nam", "track/title"),
    _Name("artist", "TPE1", "\xa9ART", "author,track/artist,album/artist"),
    _Name("album", "TALB", "\xa9alb", "product,wm/albumtitle,album/title"),
    _Name("albumartist", "TPE2", "aART", "album_artist,album artist,wm/albumartist"),
    _Name(
        *("tracknumber", "TRCK", "trkn", "track,wm/tracknumber,track/part_number"),
        "tracktotal,totaltracks,album/total_parts",
    ),
    _Name("discnumber", "TPOS", "disk", "disc,wm/partofset", "disctotal,totaldiscs"),
    _Name("date", "TDRC", "\xa9day", "year,wm/year,date_released,album/date_released"),
    _Name("genre", "TCON", "\xa9gen", "wm/genre"),
    _Name("composer", "TCOM", "\xa9wrt", "wm/composer"),
    _Name("comment", "COMM", "\xa9cmt", "description"),
)

# Descriptions of comments; under others, players keep their own data.
_COMMENTS = ("", "ID3v1 Comment")

# A FLAC holds at most 16 MiB in a block, in bytes: the cover, all texts of a name.
_MAX_COVER, _MAX_TEXT = 8 * 2**20, 2**19

_FRONT_COVER = 3
_ATTACHED_PICTURE = 1 << 10  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC

# Kinds of pictures by their first three bytes; programs often state another one.
_MAGIC = {b"\x89PN": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF": "image/gif"}
_MP4_COVERS = {"image/png": MP4Cover.FORMAT_PNG, "image/jpeg": MP4Cover.FORMAT_JPEG}

_MP4_PAIRS = ("trkn", "disk")

# "3", "3/12", "3 of 12"; and the part of a date that ID3 can hold (ISO 8601, up to seconds).
_NUMBER = re.compile(r"([0-9]*)\s*(?:(?:/|of)\s*([0-9]*).*)?", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}(-\d\d(-\d\d([ T]\d\d(:\d\d(:\d\d)?)?)?)?)?", re.ASCII)

# What mutagen raises for damaged or malicious tags, besides its own error.
_TAG_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError, binascii.Error, struct.error, zlib.error),
    *(MemoryError, StopIteration, mutagen.MutagenError),
)


class _Cover(NamedTuple):
    """A picture, with the attributes that those of mutagen have."""

    type: int
    mime: str
    data: bytes


@dataclass
class _Tags:
    """Texts by their Vorbis names, and the cover."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    cover: _Cover | None = None

    def add(self, name: str, values: Iterable[Any]) -> None:
        """Set the texts of a name, without what only some formats store; nothing if empty."""
        parts = (part for value in values for part in _storable(str(value)).split("\0"))
        texts = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
        if texts and sum(len(text.encode()) for text in texts) <= _MAX_TEXT:
            self.texts[name] = texts

    def add_covers(self, pictures: Iterable[Any]) -> None:
        """Set the front cover, or else the first picture."""
        covers = [
            _Cover(picture.type, _MAGIC.get(picture.data[:3], picture.mime), picture.data)
            for picture in pictures
        ]
        # The data of the type "-->" is an address.
        fitting = [c for c in covers if "/" in c.mime and 0 < len(c.data) <= _MAX_COVER]
        self.cover = min(fitting, key=lambda cover: cover.type != _FRONT_COVER, default=None)


def _storable(text: str) -> str:
    """Replace lone surrogates, and remove control characters but line breaks, tabs and NUL."""
    encodable = text.encode("utf-8", "replace").decode()
    return "".join(char for char in encodable if char >= " " or char in "\n\t\0")


@contextmanager
def _logged(source: StrPath, what: str) -> Iterator[None]:
    """Log an error of a damaged tag, or of one that a format cannot store."""
    try:
        yield
    except _TAG_ERRORS as error:
        _logger.debug("%s: %s left out: %s", quote(source), what, error)


def copy_tags(source: StrPath, destination: StrPath) -> None:
    """Copy title, artist, album, track, date, genre, comment, cover and so on, where possible.

    Texts of the same name in `destination` are replaced, others kept. What is missing, damaged
    or cannot be stored (an RF64 has no tags, an MP4 no track "A1") is left out, without any
    other, and logged at the level ``DEBUG``.
    """
    tags = _Tags()
    for read in (_read_own, _read_id3, _read_ape, _read_ffmpeg):
        with _logged(source, f"tags of {read.__name__}"):
            found = read(source)
            tags.texts = found.texts | tags.texts
            tags.cover = tags.cover or found.cover
    if not (tags.texts or tags.cover):
        return
    with _logged(source, "all tags"):
        target = mutagen.File(destination)
        if target is None:
            return
        if target.tags is None:
            target.add_tags()
        for name in _NAMES:
            with _logged(source, name.vorbis):
                if name.vorbis in tags.texts:
                    _write_text(target.tags, name, tags.texts[name.vorbis])
        with _logged(source, "cover"):
            if tags.cover:
                _write_cover(target, tags.cover)
        target.save()


def _read_own(source: StrPath) -> _Tags:
    """Tags as the format of the file defines them."""
    file = mutagen.File(source)
    if file is None or file.tags is None:
        return _Tags()
    if isinstance(file.tags, ID3):
        return _from_id3(file.tags)
    if isinstance(file.tags, MP4Tags):
        return _from_mp4(file.tags)
    return _from_names(file.tags, getattr(file, "pictures", ()))


def _read_id3(source: StrPath) -> _Tags:
    """ID3 before or after audio of any other format, such as AAC."""
    try:
        return _from_id3(ID3(source))
    except ID3NoHeaderError:
        return _Tags()


def _read_ape(source: StrPath) -> _Tags:
    """APEv2 after audio of any other format, such as MP3."""
    try:
        return _from_names(dict(APEv2(source)))
    except APENoHeaderError:
        return _Tags()


def _read_ffmpeg(source: StrPath) -> _Tags:
    """Tags that FFmpeg reads: Matroska, LIST/INFO of WAV and AVI, QuickTime, CAF and so on."""
    import av

    # A file and no protocol, so that FFmpeg opens nothing else.
    options = {"protocol_whitelist": "none"}
    with (
        SplicedFile(source) as file,
        av.open(file, options=options, metadata_errors="surrogateescape") as container,
    ):
        metadata = container.streams.audio[0].metadata | container.metadata
        # Matroska adds the language to names, as in TITLE-eng.
        tags = _from_names(
            {re.sub("-[a-z]{3}$", "", key): [_decoded(text)] for key, text in metadata.items()}
        )
        for stream in container.streams.video:
            disposition = getattr(stream, "disposition", None)  # not in PyAV 14
            if getattr(disposition, "value", 0) & _ATTACHED_PICTURE:
                # Its only packet comes before all others.
                data = bytes(next(container.demux(stream)))
                tags.add_covers([_Cover(_FRONT_COVER, "", data)])
                break
    return tags


def _decoded(text: str) -> str:
    """Text of undecodable bytes: the code page of Windows in Western Europe, not UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeDecodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _from_id3(id3: Any) -> _Tags:
    """Tags of ID3."""
    tags = _Tags()
    tags.add_covers(id3.getall("APIC"))
    for name in _NAMES:
        found = [f for f in id3.getall(name.id3) if getattr(f, "desc", "") in _COMMENTS]
        tags.add(name.vorbis, [text for f in found for text in getattr(f, "genres", f.text)])
    return tags


def _from_mp4(mp4: Any) -> _Tags:
    """Tags of MP4."""
    tags = _Tags()
    tags.add_covers(_Cover(_FRONT_COVER, "", bytes(data)) for data in mp4.get("covr") or ())
    for name in _NAMES:
        values = mp4.get(name.mp4) or ()
        if name.mp4 in _MP4_PAIRS:
            values = [f"{n or ''}/{total}" if total else n for n, total in values if n or total]
        tags.add(name.vorbis, values)
    return tags


def _from_names(named: Mapping[str, Any], pictures: Iterable[Any] = ()) -> _Tags:
    """Tags of formats with texts under names: Vorbis comments, APEv2, ASF and FFmpeg's."""
    values = {key.lower(): value for key, value in named.items()}
    tags = _Tags()
    tags.add_covers([*pictures, *_named_pictures(values)])
    for name in _NAMES:
        for key in reversed((name.vorbis, *name.others.split(","))):
            tags.add(name.vorbis, values.get(key, ()))
        total = [str(values[key][0]) for key in name.totals.split(",") if key in values]
        texts = tags.texts.get(name.vorbis)
        if texts and total and texts[0].isdigit():
            texts[0] += f"/{total[0]}"
    return tags


def _named_pictures(values: Mapping[str, Any]) -> Iterator[Any]:
    """Pictures of Ogg (blocks of FLAC in base64) and of APEv2 (a file name, NUL, the file)."""
    for text in values.get("metadata_block_picture", ()):
        with suppress(*_TAG_ERRORS):
            yield Picture(base64.b64decode(text))
    for key, value in values.items():
        if key.startswith("cover art"):
            kind = _FRONT_COVER if "front" in key else 0
            yield _Cover(kind, "", value.value.partition(b"\0")[2])


def _write_text(tags: Any, name: _Name, texts: list[str]) -> None:
    """Set the texts of a name; ValueError if the format cannot store them."""
    if isinstance(tags, MP4Tags):
        tags[name.mp4] = [_numbers(texts[0])] if name.mp4 in _MP4_PAIRS else texts
    elif isinstance(tags, ID3):
        texts = _dates(texts) if name.id3 == "TDRC" else texts
        options = {"lang": "XXX", "desc": ""} if name.id3 == "COMM" else {}
        frame = getattr(frames, name.id3)(encoding=3, text=texts, **options)
        tags.setall(name.id3, [frame])
    else:
        tags[name.vorbis] = texts


def _numbers(text: str) -> tuple[int, int]:
    """Return number and total for MP4, 0 if unknown; ValueError if they are not numbers."""
    match = _NUMBER.fullmatch(text)
    number, total = (int(part or 0) for part in match.groups()) if match else (0, 0)
    number, total = (value if value < 2**16 else 0 for value in (number, total))
    if not number and not total:
        raise ValueError(f"{text!r} is not a number below 65536")
    return number, total


def _dates(texts: list[str]) -> list[str]:
    """Return what ID3 can hold of dates, at least the year; ValueError if nothing."""
    found = [_DATE.match(text) or re.search(r"\b[0-9]{4}\b", text) for text in texts]
    dates = [match[0] for match in found if match]
    if not dates:
        raise ValueError(f"{texts} have no year")
    return dates


def _write_cover(file: Any, cover: _Cover) -> None:
    """Set the cover of a file; KeyError if its kind cannot be stored."""
    if isinstance(file.tags, MP4Tags):
        file.tags["covr"] = [MP4Cover(cover.data, imageformat=_MP4_COVERS[cover.mime])]
        return
    if isinstance(file.tags, ID3):
        frame = frames.APIC(encoding=3, mime=cover.mime, type=3, desc="", data=cover.data)
        file.tags.setall("APIC", [frame])
        return
    picture = Picture()
    picture.type, picture.mime, picture.data = _FRONT_COVER, cover.mime, cover.data
    if hasattr(file, "add_picture"):
        file.clear_pictures()
        file.add_picture(picture)
    else:
        block = base64.b64encode(picture.write()).decode("ascii")
        file.tags["metadata_block_picture"] = [block]
