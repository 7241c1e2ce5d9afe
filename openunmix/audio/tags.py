"""Carrying title, artist, cover and so on from one file to another, by mutagen."""

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

from openunmix.audio._paths import StrPath, shown

__all__ = ["copy_tags"]

_logger = logging.getLogger(__name__)

# One text has three names: in Vorbis comments (FLAC, Ogg), in ID3 (MP3, WAV, AIFF) and in MP4.
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

# What a damaged or malicious tag makes mutagen raise besides its own error.
_TAG_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    binascii.Error,
    struct.error,
    zlib.error,
)


@dataclass
class _Tags:
    """The texts by their Vorbis names, and the cover as (MIME type, bytes)."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    cover: tuple[str, bytes] | None = None


def copy_tags(source: StrPath, destination: StrPath) -> None:
    """Copy title, artist, album, track, date, genre, comment and cover picture.

    Between MP3, WAV, AIFF, FLAC, Ogg Vorbis, Opus and MP4 in any combination, as far as
    both files have such tags; texts already in `destination` are replaced, others kept.
    Tags are a courtesy: whatever is missing, damaged or cannot be stored (an RF64 has no
    place for them) is left out, with a message at the level ``DEBUG``.

    Parameters
    ----------
    source : str or path
        The file to read tags from.
    destination : str or path
        A complete audio file, changed in place.
    """
    import mutagen

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
        _logger.debug("no tags copied from %s: %s", shown(source), error)


def _read(file: Any) -> _Tags:
    """Read the tags of a file, of whichever kind; none where there are none."""
    from mutagen.id3 import ID3
    from mutagen.mp4 import MP4Tags

    if file is None or file.tags is None:
        return _Tags()
    if isinstance(file.tags, ID3):
        return _read_id3(file.tags)
    if isinstance(file.tags, MP4Tags):
        return _read_mp4(file.tags)
    return _read_vorbis(file)


def _read_id3(tags: Any) -> _Tags:
    """Tags of ID3."""
    result = _Tags()
    for name, frame_id, _ in _NAMES:
        # Players keep their own data in comments with a description.
        frames = [frame for frame in tags.getall(frame_id) if not getattr(frame, "desc", "")]
        if frames:
            result.texts[name] = [str(text) for text in frames[0].text]
    pictures = sorted(tags.getall("APIC"), key=lambda picture: picture.type != 3)
    if pictures:
        result.cover = (pictures[0].mime, pictures[0].data)
    return _without_large_cover(result)


def _read_mp4(tags: Any) -> _Tags:
    """Tags of MP4."""
    from mutagen.mp4 import MP4Cover

    result = _Tags()
    for name, _, atom in _NAMES:
        if atom == "trkn" and tags.get(atom):
            number, total = tags[atom][0]
            result.texts[name] = [f"{number}/{total}" if total else str(number)]
        elif tags.get(atom):
            result.texts[name] = [str(text) for text in tags[atom]]
    if tags.get("covr"):
        cover = tags["covr"][0]
        png = getattr(cover, "imageformat", None) == MP4Cover.FORMAT_PNG
        result.cover = ("image/png" if png else "image/jpeg", bytes(cover))
    return _without_large_cover(result)


def _read_vorbis(file: Any) -> _Tags:
    """Tags of FLAC, Ogg Vorbis and Opus; other kinds with text lists pass as well."""
    from mutagen.flac import Picture

    result = _Tags()
    for name, _, _ in _NAMES:
        if name in file.tags:
            result.texts[name] = [str(text) for text in file.tags[name]]
    pictures = list(getattr(file, "pictures", []))
    if "metadata_block_picture" in file.tags:
        encoded = file.tags["metadata_block_picture"]
        pictures += [Picture(base64.b64decode(text)) for text in encoded]
    pictures.sort(key=lambda picture: picture.type != 3)
    if pictures:
        result.cover = (pictures[0].mime, pictures[0].data)
    return _without_large_cover(result)


def _without_large_cover(tags: _Tags) -> _Tags:
    """Drop a cover that some formats could not hold."""
    if tags.cover and len(tags.cover[1]) > _MAX_COVER:
        tags.cover = None
    return tags


def _write(file: Any, tags: _Tags) -> None:
    """Set the tags of a file, of whichever kind."""
    from mutagen.id3 import ID3
    from mutagen.mp4 import MP4Tags

    if isinstance(file.tags, ID3):
        _write_id3(file.tags, tags)
    elif isinstance(file.tags, MP4Tags):
        _write_mp4(file.tags, tags)
    else:
        _write_vorbis(file, tags)


def _write_id3(id3: Any, tags: _Tags) -> None:
    """Set tags of ID3."""
    from mutagen import id3 as frames

    for name, frame_id, _ in _NAMES:
        if name not in tags.texts:
            continue
        options = {"lang": "XXX", "desc": ""} if frame_id == "COMM" else {}
        frame = getattr(frames, frame_id)(encoding=3, text=tags.texts[name], **options)
        id3.setall(frame_id, [frame])
    if tags.cover:
        mime, data = tags.cover
        id3.setall("APIC", [frames.APIC(encoding=3, mime=mime, type=3, desc="", data=data)])


def _write_mp4(mp4: Any, tags: _Tags) -> None:
    """Set tags of MP4."""
    from mutagen.mp4 import MP4Cover

    for name, _, atom in _NAMES:
        if name not in tags.texts:
            continue
        if atom == "trkn":
            number, _, total = tags.texts[name][0].partition("/")
            mp4[atom] = [(int(number), int(total or 0))]
        else:
            mp4[atom] = tags.texts[name]
    if tags.cover:
        mime, data = tags.cover
        kind = MP4Cover.FORMAT_PNG if mime == "image/png" else MP4Cover.FORMAT_JPEG
        mp4["covr"] = [MP4Cover(data, imageformat=kind)]


def _write_vorbis(file: Any, tags: _Tags) -> None:
    """Set tags of FLAC, Ogg Vorbis and Opus."""
    from mutagen.flac import Picture

    for name, texts in tags.texts.items():
        file.tags[name] = texts
    if not tags.cover:
        return
    picture = Picture()
    picture.type = 3  # the front cover
    picture.mime, picture.data = tags.cover
    if hasattr(file, "add_picture"):
        file.clear_pictures()
        file.add_picture(picture)
    else:
        file.tags["metadata_block_picture"] = [base64.b64encode(picture.write()).decode("ascii")]
