"""Copying of title, artist, cover and so on from one file to another, by mutagen."""

# mypy: allow-untyped-calls
# (mutagen has no annotations)
from __future__ import annotations

import base64
import binascii
import logging
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import mutagen
from mutagen import id3 as frames
from mutagen.flac import Picture
from mutagen.id3 import ID3
from mutagen.mp4 import MP4Cover, MP4Tags

from openunmix.audio._paths import StrPath, quote

_logger = logging.getLogger(__name__)

# Names of a text in Vorbis comments (FLAC, Ogg), in ID3 (MP3, WAV, AIFF) and in MP4.
_NAMES = (
    ("title", "TIT2", "\xa9nam"),
    ("artist", "TPE1", "\xa9ART"),
    ("album", "TALB", "\xa9alb"),
    ("tracknumber", "TRCK", "trkn"),
    ("date", "TDRC", "\xa9day"),
    ("genre", "TCON", "\xa9gen"),
    ("comment", "COMM", "\xa9cmt"),
)

_MAX_COVER = 8 * 2**20  # bytes; a FLAC cannot hold 16 MiB in a block
_FRONT_COVER = 3

# What mutagen raises for damaged or malicious tags, besides its own error.
_TAG_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError, binascii.Error, struct.error, zlib.error),
)


@dataclass
class _Tags:
    """Texts by their Vorbis names, and the cover as (MIME type, bytes)."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    cover: tuple[str, bytes] | None = None


def copy_tags(source: StrPath, destination: StrPath) -> None:
    """Copy title, artist, album, track, date, genre, comment and cover, as far as possible.

    Texts of the same name in `destination` are replaced, others kept. What is missing, damaged
    or cannot be stored (an RF64 has no tags) is left out, and logged at the level ``DEBUG``.
    """
    try:
        tags = _read(mutagen.File(source))
        target = mutagen.File(destination)
        if target is None or not (tags.texts or tags.cover):
            return
        if target.tags is None:
            target.add_tags()
        _write(target, tags)
        target.save()
    except (mutagen.MutagenError, *_TAG_ERRORS) as error:
        _logger.debug("no tags copied from %s: %s", quote(source), error)


def _read(file: Any) -> _Tags:
    """Read the tags of a file, of whichever kind."""
    if file is None or file.tags is None:
        return _Tags()
    if isinstance(file.tags, ID3):
        tags = _read_id3(file.tags)
    elif isinstance(file.tags, MP4Tags):
        tags = _read_mp4(file.tags)
    else:
        tags = _read_vorbis(file)
    if tags.cover and len(tags.cover[1]) > _MAX_COVER:
        tags.cover = None
    return tags


def _read_id3(id3: Any) -> _Tags:
    """Read tags of MP3, WAV and AIFF."""
    tags = _Tags(cover=_cover(id3.getall("APIC")))
    for name, frame_id, _ in _NAMES:
        # Players keep their own data in comments with a description.
        frames = [frame for frame in id3.getall(frame_id) if not getattr(frame, "desc", "")]
        if frames:
            tags.texts[name] = [str(text) for text in frames[0].text]
    return tags


def _read_mp4(mp4: Any) -> _Tags:
    """Read tags of MP4."""
    tags = _Tags()
    for name, _, atom in _NAMES:
        if atom == "trkn" and mp4.get(atom):
            number, total = mp4[atom][0]
            tags.texts[name] = [f"{number}/{total}" if total else str(number)]
        elif mp4.get(atom):
            tags.texts[name] = [str(text) for text in mp4[atom]]
    if mp4.get("covr"):
        cover = mp4["covr"][0]
        png = getattr(cover, "imageformat", None) == MP4Cover.FORMAT_PNG
        tags.cover = ("image/png" if png else "image/jpeg", bytes(cover))
    return tags


def _read_vorbis(file: Any) -> _Tags:
    """Read tags of FLAC, Ogg Vorbis, Opus and other formats with lists of texts."""
    pictures = list(getattr(file, "pictures", []))
    if "metadata_block_picture" in file.tags:
        encoded = file.tags["metadata_block_picture"]
        pictures += [Picture(base64.b64decode(text)) for text in encoded]
    tags = _Tags(cover=_cover(pictures))
    for name, _, _ in _NAMES:
        if name in file.tags:
            tags.texts[name] = [str(text) for text in file.tags[name]]
    return tags


def _cover(pictures: list[Any]) -> tuple[str, bytes] | None:
    """Return MIME type and bytes of the front cover, or else of the first picture."""
    pictures = sorted(pictures, key=lambda picture: picture.type != _FRONT_COVER)
    return (pictures[0].mime, pictures[0].data) if pictures else None


def _write(file: Any, tags: _Tags) -> None:
    """Set the tags of a file, of whichever kind."""
    if isinstance(file.tags, ID3):
        _write_id3(file.tags, tags)
    elif isinstance(file.tags, MP4Tags):
        _write_mp4(file.tags, tags)
    else:
        _write_vorbis(file, tags)


def _write_id3(id3: Any, tags: _Tags) -> None:
    """Set tags of MP3, WAV and AIFF."""
    for name, frame_id, _ in _NAMES:
        if name in tags.texts:
            options = {"lang": "XXX", "desc": ""} if frame_id == "COMM" else {}
            frame = getattr(frames, frame_id)(encoding=3, text=tags.texts[name], **options)
            id3.setall(frame_id, [frame])
    if tags.cover:
        mime, data = tags.cover
        picture = frames.APIC(encoding=3, mime=mime, type=_FRONT_COVER, desc="", data=data)
        id3.setall("APIC", [picture])


def _write_mp4(mp4: Any, tags: _Tags) -> None:
    """Set tags of MP4."""
    for name, _, atom in _NAMES:
        if name in tags.texts and atom == "trkn":
            number, _, total = tags.texts[name][0].partition("/")
            mp4[atom] = [(int(number), int(total or 0))]
        elif name in tags.texts:
            mp4[atom] = tags.texts[name]
    if tags.cover:
        mime, data = tags.cover
        kind = MP4Cover.FORMAT_PNG if mime == "image/png" else MP4Cover.FORMAT_JPEG
        mp4["covr"] = [MP4Cover(data, imageformat=kind)]


def _write_vorbis(file: Any, tags: _Tags) -> None:
    """Set tags of FLAC, Ogg Vorbis and Opus."""
    file.tags.update(tags.texts)
    if not tags.cover:
        return
    picture = Picture()
    picture.type = _FRONT_COVER
    picture.mime, picture.data = tags.cover
    if hasattr(file, "add_picture"):
        file.clear_pictures()
        file.add_picture(picture)
    else:
        file.tags["metadata_block_picture"] = [base64.b64encode(picture.write()).decode("ascii")]
