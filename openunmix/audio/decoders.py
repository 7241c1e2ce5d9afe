"""Decoders: libsndfile, and FFmpeg for what libsndfile does not read well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from openunmix.audio._ffmpeg import AvDecoder
from openunmix.audio._headers import RAW, present
from openunmix.audio._isolated import IsolatedDecoder
from openunmix.audio._ogg import OggDecoder, audio_links
from openunmix.audio._paths import StrPath, check_regular_file, codec_errors, quote
from openunmix.audio._sndfile import SndfileDecoder, open_sndfile
from openunmix.audio._spliced import Part
from openunmix.audio.info import check_stream
from openunmix.errors import AudioFileError

Decoder = SndfileDecoder | AvDecoder | IsolatedDecoder | OggDecoder

# Magic numbers of what libsndfile reads. MP3 is left to FFmpeg, because libsndfile's decoder
# prints on stderr and stops at the length that the header claims.
_SNDFILE_MAGIC = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"FORM",
    b"fLaC",
    b"OggS",
    b"riff",
    b"caff",
    b".snd",
    RAW,
)


def open_decoder(path: StrPath, stream: int | None = None) -> Decoder:
    """Open a file with the library that fits its content, whatever its extension."""
    check_regular_file(path)
    with codec_errors(f"{quote(path)} cannot be read"):
        magic, parts, samples = present(path)
        links = audio_links(path, parts) if magic == b"OggS" else []
    if len(links) > 1 or any(len(pages) > 1 for link in links for pages in link):
        return OggDecoder(path, links, stream or 0)
    decoder = open_sndfile(path, parts, magic == RAW) if magic in _SNDFILE_MAGIC else None
    if decoder is not None and magic == b"riff" and decoder.info.channels > 2:
        decoder.close()  # of W64, libsndfile takes floats of more channels for integers
        decoder = None
    if decoder is None:
        return _open_ffmpeg(path, stream, parts, samples)
    if stream:
        decoder.close()
        check_stream(path, stream, 1)
    if decoder.info.channels > 2 and magic != b"OggS":
        decoder.info = replace(decoder.info, layout=_layout(path, decoder.info.layout, parts))
    return decoder


def _layout(
    path: StrPath, default: tuple[str, ...], parts: Sequence[Part] | None
) -> tuple[str, ...]:
    """Names of the channels as FFmpeg reads them from a header; libsndfile does not tell."""
    try:
        decoder = AvDecoder(path, None, parts)
    except AudioFileError:
        return default
    decoder.close()
    return decoder.info.layout


def _open_ffmpeg(
    path: StrPath, stream: int | None, parts: Sequence[Part] | None, samples: int | None
) -> AvDecoder | IsolatedDecoder:
    """Open a file with FFmpeg: in this process, unless that is known to be unsafe."""
    if parts and len(parts) > 1:  # with a header for libsndfile
        parts = None
    decoder = AvDecoder(path, stream, parts, samples)
    if decoder.is_unusual:
        decoder.close()
        return IsolatedDecoder(path, stream, parts, samples)
    if decoder.info.channels > 2:
        decoder.name_channels()
    return decoder
