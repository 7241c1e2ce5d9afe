"""Length of a FLAC file by its frames, where its header does not know it (RFC 9639)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO, NamedTuple

_SYNC = re.compile(rb"\xff[\xf8\xf9]")


class FlacFrames(NamedTuple):
    """What the frames of a file say."""

    stated: int  # samples by the header, 0 if unknown
    samples: int  # from the first to the last frame
    from_zero: bool  # whether the first frame has number 0; a stream copy may begin later
    end: int | None  # offset in bytes of the end of the last frame; None if it is cut short

    @property
    def as_stated(self) -> bool:
        """Whether header and frames agree."""
        return self.from_zero and self.samples == self.stated


def flac_frames(file: BinaryIO, start: int, end: int) -> FlacFrames | None:
    """Examine the first and the last frame between two offsets; None if they are not found."""
    file.seek(start + 8)
    info = file.read(18)  # STREAMINFO, section 8.2
    if len(info) < 18:
        return None
    blocksize, max_frame = int.from_bytes(info[2:4], "big"), int.from_bytes(info[7:10], "big")
    stated = int.from_bytes(info[13:18], "big") & (2**36 - 1)
    first_offset = _first_frame(file, start + 4)
    file.seek(first_offset)
    first = _samples_of_frame(file.read(20), blocksize)
    tail_offset = max(first_offset, end - max(2**17, 2 * max_frame))
    file.seek(tail_offset)
    tail = file.read(max(0, end - tail_offset))
    frames = list(_frames(tail, blocksize))
    if first is None or not frames:
        return None
    from_zero = first[0] == 0
    if from_zero and any(last == stated for _, (_, last) in frames):
        return FlacFrames(stated, stated, from_zero, end)
    for at, (_, last) in reversed(frames[-4:]):  # one may be none: bytes that look like a header
        length = _complete_frame(tail[at:])
        if length and last > first[0]:
            return FlacFrames(stated, last - first[0], from_zero, tail_offset + at + length)
    return FlacFrames(stated, frames[-1][1][0] - first[0], from_zero, None)


def _first_frame(file: BinaryIO, offset: int) -> int:
    """Offset of the first frame, behind all metadata blocks (section 8.1)."""
    for _ in range(1000):
        file.seek(offset)
        head = file.read(4)
        offset += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 0x80:
            break
    return offset


def _frames(data: bytes, blocksize: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the offset of each frame header, and the samples from and to which it goes."""
    for match in _SYNC.finditer(data):
        span = _samples_of_frame(data[match.start() : match.start() + 20], blocksize)
        if span is not None:
            yield match.start(), span


def _samples_of_frame(head: bytes, blocksize: int) -> tuple[int, int] | None:
    """First sample of a frame and the one behind its last; None if this is no frame (9.1)."""
    if not _SYNC.match(head) or len(head) < 8:
        return None
    # The number is coded like a character in UTF-8, in up to 7 bytes.
    ones = next(count for count in range(9) if not head[4] << count & 0x80)
    more = max(ones - 1, 0)
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    at, code, rate_code = 5 + more, head[2] >> 4, head[2] & 15
    if code in (6, 7):
        size = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    else:
        size = 192 if code == 1 else 144 << code if code < 6 else 1 << code
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if (
        code == 0
        or rate_code == 15
        or ones in (1, 8)
        or at >= len(head)
        or _crc(head[: at + 1], 0x07, 8)
    ):
        return None
    first = number if head[1] & 1 else number * blocksize
    return first, first + size


def _complete_frame(data: bytes) -> int | None:
    """Length of a frame at the start of data, followed by zeros at most; None if it is cut.

    It ends with a CRC-16 that makes the remainder of all its bytes 0 (9.3).
    """
    least = len(data.rstrip(b"\0"))
    lengths = range(least, min(least + 2, len(data)) + 1)
    return next((length for length in lengths if not _crc(data[:length], 0x8005, 16)), None)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """Cyclic redundancy check, highest bit first, from 0."""
    crc, table = 0, _crc_table(polynomial, bits)
    for byte in data:
        crc = (crc << 8 & (1 << bits) - 1) ^ table[crc >> bits - 8 ^ byte]
    return crc


@cache
def _crc_table(polynomial: int, bits: int) -> list[int]:
    """Remainders of all bytes."""
    table = []
    for value in range(256):
        remainder = value << bits - 8
        for _ in range(8):
            remainder = remainder << 1 ^ (polynomial if remainder >> bits - 1 else 0)
            remainder &= (1 << bits) - 1
        table.append(remainder)
    return table
