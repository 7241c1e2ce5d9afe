"""The header of a WAV, or of an RF64 if there is more audio than 32 bits can count."""

from __future__ import annotations

import struct

# A WAV counts its bytes in 32 bits; the difference to 4 GiB leaves room for tags.
RIFF_LIMIT = 2**32 - 2**24


def wav_format(sample_rate: int, channels: int, width: int, is_float: bool) -> bytes:
    """Content of the chunk ``fmt``, for samples of `width` bytes."""
    frame, tag = channels * width, 3 if is_float else 1
    byte_rate = min(sample_rate * frame, 0xFFFFFFFF)
    return struct.pack("<HHIIHH", tag, channels, sample_rate, byte_rate, frame, 8 * width)


def wav_header(fmt: bytes, data: int, order: str = "<") -> bytes:
    """All that goes before `data` bytes of audio; its length does not depend on how many.

    Room for 64-bit sizes is a chunk ``JUNK`` that becomes ``ds64`` (EBU Tech 3306, section 3.5).
    """
    tag, _, _, _, frame = struct.unpack(f"{order}HHIIH", fmt[:14])
    chunks = struct.pack(f"{order}4sI", b"fmt ", len(fmt)) + fmt + bytes(len(fmt) % 2)
    if tag == 3:  # float: all but integer PCM count their samples
        chunks += struct.pack(f"{order}4sII", b"fact", 4, min(data // frame, 0xFFFFFFFF))
    total = 4 + 36 + len(chunks) + 8 + data + data % 2
    if total <= RIFF_LIMIT:
        magic, size, data_size = b"RIFF" if order == "<" else b"RIFX", total, data
        room = struct.pack(f"{order}4sI28x", b"JUNK", 28)
    else:
        magic, size, data_size = b"RF64", 0xFFFFFFFF, 0xFFFFFFFF
        room = struct.pack("<4sIQQQI", b"ds64", 28, total, data, data // frame, 0)
    head = struct.pack(f"{order}4sI4s", magic, size, b"WAVE")
    return head + room + chunks + struct.pack(f"{order}4sI", b"data", data_size)
