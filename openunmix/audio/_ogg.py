"""Ogg files of several streams (RFC 3533): chained in links, or multiplexed in one."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from openunmix.audio._ffmpeg import AvDecoder
from openunmix.audio._paths import StrPath, absolute, quote
from openunmix.audio._sndfile import SndfileDecoder, open_sndfile
from openunmix.audio._spliced import Part
from openunmix.audio.channels import Block
from openunmix.audio.info import check_stream, drop
from openunmix.errors import AudioFileError

# The first bytes of the first packet of each audio stream.
_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")


class _Page(NamedTuple):
    span: range  # offsets in bytes
    serial: bytes  # of its stream
    begins: bool  # its stream
    body: bytes  # the first bytes


def _pages(data: mmap.mmap, offset: int, end: int) -> Iterator[_Page]:
    """Yield the pages of a file (RFC 3533, section 6); what is between them is passed over."""
    while (offset := data.find(b"OggS", offset, end)) >= 0:
        head = data[offset : offset + 27]
        if len(head) < 27:
            return
        body = offset + 27 + head[26]
        stop = body + sum(data[offset + 27 : body])
        yield _Page(range(offset, stop), head[14:18], bool(head[5] & 2), data[body : body + 8])
        offset = stop


def audio_links(path: StrPath, parts: Sequence[Part] | None = None) -> list[list[list[Part]]]:
    """Parts of each audio stream of each link of a file.

    All streams of a link begin before any of them goes on; the next link may reuse their serial
    numbers.
    """
    links: list[dict[bytes, list[range]]] = []
    beginning = False
    span = parts[0] if parts else range(os.path.getsize(path))
    assert isinstance(span, range)
    with (
        open(absolute(path), "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        for page in _pages(data, span.start, span.stop):
            if page.begins and not beginning:
                links.append({})
            beginning = page.begins
            if page.begins and page.body.startswith(_AUDIO):
                links[-1][page.serial] = [page.span]
            elif links and (pages := links[-1].get(page.serial)):
                adjacent = pages[-1].stop == page.span.start
                first = pages.pop().start if adjacent else page.span.start
                pages.append(range(first, page.span.stop))
    return [[list(pages) for pages in link.values()] for link in links if link]


def _open_link(path: StrPath, pages: Sequence[Part]) -> SndfileDecoder | AvDecoder:
    """Open one stream; FFmpeg decodes FLAC and Speex."""
    return open_sndfile(path, pages, raw=False) or AvDecoder(path, None, pages)


class OggDecoder:
    """One audio stream of each link, decoded one after the other."""

    def __init__(self, path: StrPath, links: Sequence[Sequence[Sequence[Part]]], stream: int):
        check_stream(path, stream, len(links[0]))
        self._path = path
        self._links = [link[stream] for link in links if stream < len(link)]
        infos = []
        for pages in self._links:
            decoder = _open_link(path, pages)
            infos.append(decoder.info)
            decoder.close()
        for info in infos:
            if (info.sample_rate, info.channels) != (infos[0].sample_rate, infos[0].channels):
                raise AudioFileError(
                    f"{quote(path)} changes from {infos[0].channels} channels at "
                    f"{infos[0].sample_rate} Hz to {info.channels} at {info.sample_rate} Hz on the "
                    "way; convert it to WAV first"
                )
        counts = [info.samples for info in infos if info.samples is not None]
        total = sum(counts) if len(counts) == len(infos) else None
        self.info = replace(infos[0], samples=total, streams=len(links[0]))

    def chunks(self, first: int) -> Iterator[Block]:
        """Yield chunks from the sample `first` to the end."""
        return drop(self._decode(), first)

    def _decode(self) -> Iterator[Block]:
        """Yield the chunks of all links."""
        for pages in self._links:
            decoder = _open_link(self._path, pages)
            try:
                yield from decoder.chunks(0)
            finally:
                decoder.close()

    def close(self) -> None:
        """Do nothing: no file is open between chunks."""
