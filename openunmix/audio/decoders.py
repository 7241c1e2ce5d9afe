"""Decoders: libsndfile, and FFmpeg for what libsndfile does not read well."""

from __future__ import annotations

from openunmix.audio._ffmpeg import AvDecoder
from openunmix.audio._headers import RAW, present
from openunmix.audio._paths import StrPath, check_regular_file, codec_errors, quote
from openunmix.audio._sndfile import SndfileDecoder, open_sndfile
from openunmix.audio.info import check_stream

# Magic numbers of what libsndfile reads. MP3 is left to FFmpeg, because libsndfile's decoder
# prints on stderr and stops at the length that the header claims.
_SNDFILE_MAGIC = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"riff",
    b"FORM",
    b"fLaC",
    b"OggS",
    b"caff",
    b".snd",
    RAW,
)


def open_decoder(path: StrPath, stream: int | None = None) -> SndfileDecoder | AvDecoder:
    """Open a file with the library that fits its content, whatever its extension."""
    check_regular_file(path)
    with codec_errors(f"{quote(path)} cannot be read"):
        magic, parts, samples = present(path)
    decoder = open_sndfile(path, parts, magic == RAW) if magic in _SNDFILE_MAGIC else None
    if decoder is None:
        span = parts[0] if parts and len(parts) == 1 else None
        return AvDecoder(path, stream, span if isinstance(span, range) else None, samples)
    if stream:
        decoder.close()
        check_stream(path, stream, 1)
    return decoder
