"""The HTML of the player page: its data, its scripts and their policy, written as a stream."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from openunmix._pages import render
from openunmix.web._pictures import LOWEST, highest
from openunmix.web._stems import BIT_RATE, EncodedStem

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("common.js", "sound.js", "pictures.js", "player.js")

_MIN_RATE, _MAX_RATE = 8_000, 48_000  # Hz, supported by all browsers

_RANGE = 75.0  # of a spectrogram, in dB below the loudest band on the page
_STEP = 4  # quantisation of its values, 0 to 255: a finer one is not visible and takes more space

_CHUNK = 3 << 18  # bytes encoded at once; a multiple of 3, so that chunks of base64 concatenate


@dataclass(frozen=True)
class Document:
    """A page that plays tracks: the stems and, if ``has_original``, the original after them.

    ``details`` are rows of a table; ``downloads`` are relative URLs of lossless files by stem.
    """

    title: str
    tracks: list[EncodedStem]
    has_original: bool
    details: Mapping[str, str] = field(default_factory=dict)
    downloads: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def audio_size(self) -> int:
        """Bytes of all audio in base64."""
        return sum(4 * -(-track.audio.stat().st_size // 3) for track in self.tracks)

    def pieces(self, sidecars: list[str] | None = None) -> Iterator[bytes]:
        """Page in UTF-8, piece by piece; with the URLs of ``sidecars``, without the audio."""
        page = player_page(self.title, self._data(sidecars), bool(sidecars))
        head, end_of_body, tail = page.rpartition("</body>")
        yield head.encode("utf-8", "replace")
        if not sidecars:
            yield from self._audio()
        yield (end_of_body + tail).encode()

    def _audio(self) -> Iterator[bytes]:
        """Audio as data blocks, which browsers do not execute."""
        for number, track in enumerate(self.tracks):
            yield f'<script type="text/plain" id="audio-{number}">'.encode()
            yield from base64_of(track.audio)
            yield b"</script>\n"

    def _data(self, sidecars: list[str] | None) -> dict[str, Any]:
        """Return what ``player.js`` reads."""
        duration = max(track.picture.samples / track.sample_rate for track in self.tracks)
        rate = min(max(self.tracks[0].sample_rate, _MIN_RATE), _MAX_RATE)
        peak = max(float(track.picture.waveform()[0].max()) for track in self.tracks)
        loudest = max(float(track.picture.spectrogram().max()) for track in self.tracks)
        saved = "the files beside this page, the remix from the audio in it"
        audio = (
            f"Opus, about {BIT_RATE // 1000} kbit/s; stems are saved from "
            f"{saved if self.downloads else 'the audio in this page'}"
        )
        return {
            "title": self.title,
            "sampleRate": rate,
            "samples": max(1, round(duration * rate)),
            "frequencies": [LOWEST, highest(self.tracks[0].sample_rate)],
            "original": len(self.tracks) - 1 if self.has_original else None,
            "details": [*self.details.items(), ("Audio", audio)],
            "tracks": [
                {
                    "name": track.name,
                    "download": self.downloads.get(track.name),
                    "sidecar": sidecars[number] if sidecars else None,
                    "waveform": _waveform(track, peak),
                    "spectrogram": _spectrogram(track, loudest),
                }
                for number, track in enumerate(self.tracks)
            ],
        }


def player_page(title: str, data: Mapping[str, Any] | None, sidecars: bool = False) -> str:
    """Page without audio; without data, it takes both from the page in whose frame it is."""
    script = "".join(_static(name) for name in _SCRIPTS)
    return render(
        "player.html",
        policy=_policy(script, sidecars),
        title=title,
        style=_static("common.css") + _static("player.css"),
        data=data,
        script=script,
    )


def base64_of(path: Path) -> Iterator[bytes]:
    """Contents of a file in base64, in pieces that concatenate."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield base64.b64encode(chunk)


def _waveform(track: EncodedStem, peak: float) -> dict[str, Any]:
    """Peak and RMS per column, relative to the highest peak on the page."""
    levels = track.picture.waveform() * (255 / max(peak, 1e-9))
    return _pixels(levels, track.picture.hop / track.sample_rate)


def _spectrogram(track: EncodedStem, loudest: float) -> dict[str, Any]:
    """Bands from low to high, in dB relative to the loudest band on the page."""
    values = (track.picture.spectrogram() - (loudest - _RANGE)) * (255 / _RANGE)
    values = np.round(values / _STEP) * _STEP
    return _pixels(values, track.picture.spectrogram_hop / track.sample_rate)


def _pixels(values: npt.NDArray[np.floating], seconds: float) -> dict[str, Any]:
    """Zlib-compressed bytes (rows, columns) as JSON; a column lasts ``seconds``."""
    rows, columns = values.shape
    pixels = np.clip(np.round(values), 0, 255).astype(np.uint8)
    data = base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode()
    return {"rows": rows, "columns": columns, "seconds": seconds, "data": data}


def _static(name: str) -> str:
    """Read a file of the package."""
    return (_STATIC / name).read_text("utf-8")


def _policy(script: str, sidecars: bool) -> str:
    """Content-Security-Policy that executes only our script and opens no connections."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"'sha256-{digest}'" + (" 'self' file:" if sidecars else "")
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
