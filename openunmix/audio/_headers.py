"""Audio data where headers do not know its size: from dying recorders, pipes and beyond 4 GiB.

`present` returns the parts of a file (see `SplicedFile`) that make a sound one for libsndfile: tags
in front and junk behind are left out, and sizes are corrected.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from openunmix.audio._flac import flac_frames
from openunmix.audio._mpeg import end_without_zeros
from openunmix.audio._paths import StrPath, quote
from openunmix.audio._spliced import Part
from openunmix.audio._wav import wav_header
from openunmix.errors import AudioFileError


class Presented(NamedTuple):
    """A file as a decoder should see it."""

    magic: bytes  # its first four bytes; RAW: a header, and samples to read without it; or MPEG
    parts: Sequence[Part] | None = None  # None: the file as it is
    samples: int | None = None  # length, if the header has another one


RAW, MPEG = b"raw ", b"mpeg"


class _Data(NamedTuple):
    """The audio data of a file, by its header."""

    offset: int
    stated: int  # bytes; 0 if unknown
    before: Callable[[int], list[Part]]  # what goes before the data if it has another size
    magic: bytes  # of the result


def present(path: StrPath) -> Presented:
    """Examine a file; raise if it is cut short."""
    with open(path, "rb") as file:
        start, size = _behind_id3(file), os.path.getsize(path)
        file.seek(start)
        magic = file.read(4)
        whole = Presented(magic, [range(start, size)] if start else None)
        if magic == b"OggS":
            return Presented(magic, _ogg(file, path, start, size))
        if magic == b"fLaC":
            return _flac(file, path, start, size) or whole
        locate = _LOCATE.get(magic)
        data = locate(file, start) if locate else None
        return _with_true_size(path, magic, data, start, size) if data else whole


def _behind_id3(file: BinaryIO) -> int:
    """Offset behind the ID3v2 tags at the start, whose sizes have seven bits a byte."""
    offset = 0
    while len(head := file.read(10)) == 10 and head[:3] == b"ID3":
        size = sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:]))
        offset += 10 + size + (10 if head[5] & 0x10 else 0)  # with a footer
        file.seek(offset)
    return offset


def _with_true_size(path: StrPath, magic: bytes, data: _Data, start: int, size: int) -> Presented:
    """Present a file by where its data is, and by how much there is."""
    available = max(0, size - data.offset)
    true = _true_size(data.stated, available)
    # Some programs include their header.
    if true > available + 4096:
        raise AudioFileError(
            f"{quote(path)} is cut short: its header announces {data.stated} bytes of audio, the "
            f"file has {available}; fetch or export it again"
        )
    if true == data.stated and not start and data.magic in (magic, RAW):
        return Presented(magic)
    audio = range(data.offset, data.offset + min(true, available))
    return Presented(data.magic, [*data.before(len(audio)), audio])


def _true_size(stated: int, available: int) -> int:
    """Size of the data in bytes; to the end of the file if the header does not know it."""
    # Programs that write to a pipe state zero or about the maximum; sox less, as it adds to it.
    # Recorders begin another file there, so it is true where little else follows.
    unknown = (0x7F000000, 2**31, 2**32, 2**63, 2**64)
    placeholder = any(abs(stated - value) <= 2**16 for value in unknown)
    if stated == 0 or (placeholder and not stated <= available <= stated + 2**20):
        return available
    # A size of 32 bits has wrapped as often as 4 GiB fit into what follows.
    return stated + (max(0, available - stated) >> 32 << 32)


def _chunks(
    file: BinaryIO, offset: int, layout: str, align: int, counted: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and length of the bodies of chunks; `counted` bytes are their heads'."""
    for _ in range(1000):
        file.seek(offset)
        head = file.read(struct.calcsize(layout))
        if len(head) < struct.calcsize(layout):
            return
        name, length = struct.unpack(layout, head)
        body, length = offset + len(head), length - counted
        yield name, body, length
        if not 0 <= length < 2**48:
            return
        offset = body + length + -length % align


def _riff(file: BinaryIO, start: int) -> _Data | None:
    """WAV, and its variants RIFX (big-endian), RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088)."""
    file.seek(start)
    magic = file.read(4)
    order = ">" if magic == b"RIFX" else "<"
    long_size, fmt = 0, b""
    for name, offset, length in _chunks(file, start + 12, f"{order}4sI", 2):
        file.seek(offset)
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            fmt = file.read(min(length, 2**16))
        elif name == b"data" and len(fmt) >= 14:
            break
    else:
        return None
    if magic in (b"RF64", b"BW64") and length in (0, 0xFFFFFFFF):
        length = long_size
    elif length == 0 and file.read(4) in _CHUNKS_BEHIND:
        return None  # a WAV without samples
    if int.from_bytes(fmt[:2], "little") in (0x50, 0x55):
        return _Data(offset, length, lambda _: [], MPEG)
    # libsndfile does not know BW64, and reads an RF64 by its ds64 only.
    sound = magic in (b"RIFF", b"RIFX") or (magic == b"RF64" and long_size == length)
    kind = magic if sound else b"RIFF"
    return _Data(offset, length, lambda true: [wav_header(fmt, true, order)], kind)


_CHUNKS_BEHIND = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"PEAK", b"JUNK", b"smpl")


def _aiff(file: BinaryIO, start: int) -> _Data | None:
    """AIFF and AIFF-C. Where a size is wrong, the samples are read without the header."""
    chunks = _chunks(file, start + 12, ">4sI", 2)
    found = next((chunk for chunk in chunks if chunk[0] == b"SSND"), None)
    if found is None:
        return None
    _, offset, length = found
    file.seek(offset)
    skipped = 8 + int.from_bytes(file.read(4), "big")
    head: list[Part] = [range(start, offset + skipped)]
    return _Data(offset + skipped, max(0, length - skipped), lambda _: head, RAW)


def _au(file: BinaryIO, start: int) -> _Data:
    """Sun's and NeXT's .au, whose size may be 0xFFFFFFFF for unknown."""
    file.seek(start + 4)
    offset, stated = (int.from_bytes(file.read(4), "big") for _ in range(2))
    return _patched(start, start + offset, stated, start + 8, ">I", 0, b".snd")


def _caf(file: BinaryIO, start: int) -> _Data | None:
    """Core Audio Format; -1 is the size of data to the end of the file."""
    for name, offset, length in _chunks(file, start + 8, ">4sq", 1):
        if name == b"data":  # begins with a count of edits
            stated = max(0, length - 4)
            return _patched(start, offset + 4, stated, offset - 8, ">q", 4, b"caff")
    return None


def _w64(file: BinaryIO, start: int) -> _Data | None:
    """Sony's Wave64, whose sizes count the head of the chunk."""
    for name, offset, length in _chunks(file, start + 40, "<16sQ", 8, counted=24):
        if name[:4] == b"data":
            return _patched(start, offset, max(0, length), offset - 8, "<Q", 24, b"riff")
    return None


def _patched(
    start: int, offset: int, stated: int, at: int, layout: str, counted: int, magic: bytes
) -> _Data:
    """Audio data behind a header with its size at `at`, in which `counted` bytes are added."""

    def before(true: int) -> list[Part]:
        size = min(true + counted, 256 ** struct.calcsize(layout) - 1)  # a maximum is "unknown"
        return [
            range(start, at),
            struct.pack(layout, size),
            range(at + struct.calcsize(layout), offset),
        ]

    return _Data(offset, stated, before, magic)


_LOCATE: dict[bytes, Callable[[BinaryIO, int], _Data | None]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"BW64": _riff,
    b"FORM": _aiff,
    b".snd": _au,
    b"caff": _caf,
    b"riff": _w64,
}


def _flac(file: BinaryIO, path: StrPath, start: int, size: int) -> Presented | None:
    """FLAC; None if the header is right. FFmpeg reads what has other samples than it states."""
    frames = flac_frames(file, start, _without_tags(file, end_without_zeros(file, size)))
    if frames is None or frames.as_stated:
        return None
    if frames.end is None:
        stated = f"its header announces {frames.stated} samples, the file has"
        raise AudioFileError(
            f"{quote(path)} is cut short: {stated if frames.stated else 'it ends in a frame after'}"
            f" {frames.samples}; fetch or export it again"
        )
    return Presented(b"", [range(start, frames.end)], frames.samples)


def _ogg(file: BinaryIO, path: StrPath, start: int, size: int) -> list[Part] | None:
    """Ogg to the end of its last page (RFC 3533, section 6), which ends the stream."""
    page, block = -1, size
    while page < 0 and block > start:  # there may be a lot behind
        block = max(start, block - 2**20)
        file.seek(block)
        page = file.read(2**20 + 3).rfind(b"OggS")
    page += block
    file.seek(page)
    head = file.read(27)
    segments = file.read(head[26]) if len(head) == 27 else b""
    end = page + 27 + len(segments) + sum(segments)
    if len(head) < 27 or not head[5] & 4 or end > size:
        raise AudioFileError(
            f"{quote(path)} is cut short: its last page does not end the Ogg stream; fetch it "
            "again, or repair it by remuxing"
        )
    return [range(start, end)] if start or end < size else None


def _without_tags(file: BinaryIO, end: int) -> int:
    """Offset of the ID3v1 and APEv2 tags at the end of a file."""
    while end >= 128:
        file.seek(end - 128)
        tail = file.read(128)
        if tail[:3] == b"TAG":
            end -= 128
        elif tail[96:104] == b"APETAGEX":
            size, _, flags = struct.unpack("<III", tail[108:120])
            end -= size + (32 if flags >> 31 else 0)  # with a header
        else:
            break
    return max(end, 0)
