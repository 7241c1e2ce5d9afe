"""MPEG audio (MP3, AAC): tags between its frames, and the number of frames by its header."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from typing import BinaryIO

from openunmix.audio._paths import StrPath, absolute
from openunmix.audio._spliced import Part

# Head of an ID3v2 tag and its first frame or padding; head or foot of an APEv2 tag; zeros in front.
# The size of an APEv2 tag counts the foot and not the head; bit 29 of its flags marks the head.
_TAG = re.compile(
    rb"ID3[\2-\4]\0[\0\x10-\xf0](?P<id3>[\0-\x7f]{4})(?=[A-Z0-9]{3}|\0)"
    rb"|APETAGEX[\xd0\xe8][\3\7]\0\0(?P<ape>.{4}).{4}...(?P<flags>.)"
    rb"|\A\0{4,}",
    re.DOTALL,
)


def parts_of_mpeg(path: StrPath, span: range) -> list[Part]:
    """Parts of a span of a file that are no ID3v2 or APEv2 tags, nor zeros at its ends."""
    parts: list[Part] = []
    with (
        open(absolute(path), "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        end, offset = end_without_zeros(file, span.stop), span.start
        for first, last in (*_tags(data), (end, end)):
            if min(first, end) > offset:
                parts.append(range(offset, min(first, end)))
            offset = max(offset, last)
    return parts


def end_without_zeros(file: BinaryIO, end: int) -> int:
    """Offset of the zeros at the end of a file, to 4096 bytes."""
    while end > 0:
        file.seek(max(0, end - 4096))
        if any(file.read(min(end, 4096))):
            break
        end -= 4096
    return max(0, end)


def _tags(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield from where to where tags go."""
    for match in _TAG.finditer(data):
        at = match.start()
        if match["id3"]:  # seven bits a byte, without the head and the foot that a flag states
            size = sum(byte << 7 * (3 - k) for k, byte in enumerate(match["id3"]))
            yield at, at + size + (20 if data[at + 5] & 0x10 else 10)
        elif match["ape"]:
            size = int.from_bytes(match["ape"], "little")
            yield (at, at + 32 + size) if match["flags"][0] & 0x20 else (at + 32 - size, at + 32)
        else:
            yield match.span()


def stated_frames(head: bytes) -> int | None:
    """Frames that follow by the first frame of an MP3 (Xing, Info or VBRI); None if it has none."""
    # Behind the header of the frame and its side information, which has up to 32 bytes.
    found = re.search(
        rb"\xff[\xe2-\xff].{7,40}?(?:(Xing|Info)...(.)(....)|VBRI.{10}(....))", head, re.S
    )
    if found is None or (found[1] and not found[2][0] & 1):
        return None
    return int.from_bytes(found[3] or found[4], "big")
