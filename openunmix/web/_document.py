"""The HTML of a page, put together from its parts and written as a stream."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from openunmix.web._pictures import LOWEST, Grid
from openunmix.web._tracks import BIT_RATE, Track

__all__ = ["Document", "base64_of"]

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("sound.js", "pictures.js", "player.js")

# What browsers play at, in Hz.
_LOWEST_RATE, _HIGHEST_RATE = 8_000, 48_000

_RANGE = 75.0  # of a spectrogram, in dB below the loudest band on the page
_STEP = 4  # of its values, which are 0 to 255: what is seen no better takes only space

_CHUNK = 3 << 18  # bytes encoded at once; a multiple of 3, so that the pieces join


@dataclass(frozen=True)
class Document:
    """A page that plays tracks.

    Parameters
    ----------
    title : str
        The heading.
    tracks : list of Track
        The stems and, if `has_original`, the original after them.
    has_original : bool
        Whether the last track is the original; otherwise it is the sum of the others.
    details : mapping of str to str
        Rows of a table.
    downloads : mapping of str to str
        Relative URLs of lossless files, by stem.
    """

    title: str
    tracks: list[Track]
    has_original: bool
    details: Mapping[str, str] = field(default_factory=dict)
    downloads: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def audio_size(self) -> int:
        """Bytes of all audio in the page."""
        return sum(4 * -(-track.audio.stat().st_size // 3) for track in self.tracks)

    def pieces(self, sidecars: list[str] | None = None) -> Iterator[bytes]:
        """Give the page piece by piece.

        Parameters
        ----------
        sidecars : list of str, optional
            URLs of the scripts that bring the audio of each track; without them it is in
            the page.

        Yields
        ------
        bytes
            UTF-8.
        """
        script = "".join(_static(name) for name in _SCRIPTS)
        parts = {
            "policy": html.escape(_policy(script, bool(sidecars))),
            "title": html.escape(self.title),
            "style": _static("player.css"),
            "data": _json(self._data(sidecars)),
            "script": script,
        }
        for index, piece in enumerate(re.split(r"\{\{(\w+)\}\}", _static("index.html"))):
            if index % 2 == 0:
                yield piece.encode()
            elif piece == "audio":
                yield from () if sidecars else self._audio()
            else:
                yield parts[piece].encode("utf-8", "replace")

    def _audio(self) -> Iterator[bytes]:
        """Give the audio as blocks of data, which no browser runs."""
        for number, track in enumerate(self.tracks):
            yield f'<script type="text/plain" id="audio-{number}">'.encode()
            yield from base64_of(track.audio)
            yield b"</script>\n"

    def _data(self, sidecars: list[str] | None) -> dict[str, Any]:
        """Return all that the script has to know."""
        duration = max(track.picture.samples / track.sample_rate for track in self.tracks)
        rate = min(max(self.tracks[0].sample_rate, _LOWEST_RATE), _HIGHEST_RATE)
        loudest = max(float(track.picture.waveform()[0].max()) for track in self.tracks)
        top = max(float(track.picture.spectrogram().max()) for track in self.tracks)
        grid = Grid(self.tracks[0].sample_rate, 1)
        return {
            "title": self.title,
            "sampleRate": rate,
            "samples": max(1, round(duration * rate)),
            "frequencies": [LOWEST, grid.highest],
            "original": len(self.tracks) - 1 if self.has_original else None,
            "details": [*self.details.items(), ("Sound", self._sound())],
            "tracks": [
                {
                    "name": track.name,
                    "download": self.downloads.get(track.name),
                    "sidecar": sidecars[number] if sidecars else None,
                    "waveform": _drawn_waveform(track, loudest),
                    "spectrogram": _drawn_spectrogram(track, top),
                }
                for number, track in enumerate(self.tracks)
            ],
        }

    def _sound(self) -> str:
        """Say what is heard and what is saved, which may differ."""
        saved = "the audio in this page"
        if self.downloads:
            saved = "the files beside this page, the remix from the audio in it"
        return f"Opus of about {BIT_RATE // 1000} kbit/s; stems are saved from {saved}"


def base64_of(path: Path) -> Iterator[bytes]:
    """Give a file in base64.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    bytes
        Pieces that join.
    """
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield base64.b64encode(chunk)


def _drawn_waveform(track: Track, loudest: float) -> dict[str, Any]:
    """Return peaks, then root mean squares, 255 being the loudest peak on the page."""
    levels = track.picture.waveform() * (255 / max(loudest, 1e-9))
    return _pixels(levels, track.picture.hop / track.sample_rate)


def _drawn_spectrogram(track: Track, top: float) -> dict[str, Any]:
    """Return bands from low to high, 0 being silence and 255 the loudest on the page."""
    values = (track.picture.spectrogram() - (top - _RANGE)) * (255 / _RANGE)
    values = np.round(values / _STEP) * _STEP
    return _pixels(values, track.picture.spectrogram_hop / track.sample_rate)


def _pixels(values: np.ndarray, seconds: float) -> dict[str, Any]:
    """Return a picture of bytes as JSON: its size, seconds of a column, and compressed rows."""
    rows, columns = values.shape
    pixels = np.clip(np.round(values), 0, 255).astype(np.uint8)
    data = base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode()
    return {"rows": rows, "columns": columns, "seconds": seconds, "data": data}


def _static(name: str) -> str:
    """Return a file of the package."""
    return (_STATIC / name).read_text("utf-8")


def _json(data: dict[str, Any]) -> str:
    """Return JSON that cannot end the element it is in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _policy(script: str, sidecars: bool) -> str:
    """Return the policy by which the browser runs only our script, and connects to nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"'sha256-{digest}'" + (" 'self' file:" if sidecars else "")
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
