"""A page that plays stems: one HTML file that needs nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from openunmix._files import replacing
from openunmix.audio import AudioSource
from openunmix.errors import AudioFileError
from openunmix.web._document import Document, base64_of
from openunmix.web._tracks import Source, Track, encoded

__all__ = ["MAX_AUDIO_SIZE", "page_html", "write_page"]

MAX_AUDIO_SIZE = 24_000_000
"""Bytes of audio that a page holds: of four stems and their original four minutes and a bit."""

_SIDECAR = re.compile(r"index-audio-\d+-[0-9a-f]{8}\.js")


def write_page(
    folder: Path,
    stems: Mapping[str, Path],
    *,
    title: str,
    mixture: Path | AudioSource | None = None,
    mixture_gain: float = 1.0,
    details: Mapping[str, str] | None = None,
    downloads: Mapping[str, str] | None = None,
) -> Path:
    """Write a page that plays stems, as ``index.html``.

    The page works without a network and from ``file://``. The audio in it is Opus of about
    112 kbit/s. If that comes to more than 24 MB, it is written beside the page, as
    ``index-audio-<number>-<hash>.js``: browsers load nothing else from a disk.

    Parameters
    ----------
    folder : Path
        Where to write; made if it does not exist.
    stems : mapping of str to Path
        The audio file of every stem, in the order in which they are shown.
    title : str
        The heading.
    mixture : Path or AudioSource, optional
        The original to compare with, or the part of it that was separated. Without it the
        original is the sum of the stems.
    mixture_gain : float, optional
        The factor by which the stems were turned down, so that the original is too.
    details : mapping of str to str, optional
        What else to show: model, settings, licence.
    downloads : mapping of str to str, optional
        By stem, the relative URL of a lossless file to download, quoted. Without it the page
        makes a WAV of the audio in it.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    AudioFileError
        If a file cannot be read as audio, or the page cannot be written.
    ValueError
        If there are no stems, or a download is not of a stem or not a relative URL.
    """
    downloads = downloads or {}
    _check(stems, downloads)
    sources = _sources(stems, mixture, mixture_gain)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with encoded(sources, folder) as tracks:
            document = Document(title, tracks, mixture is not None, details or {}, downloads)
            beside = document.audio_size > MAX_AUDIO_SIZE
            sidecars = [_write_sidecar(folder, *item) for item in enumerate(tracks) if beside]
            path = folder / "index.html"
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.writelines(document.pieces(sidecars))
        _remove_other_sidecars(folder, sidecars)
    except AudioFileError:
        raise
    except OSError as error:
        raise AudioFileError(f"{str(folder)!r} cannot be written: {error.strerror}") from error
    return path


def page_html(
    stems: Mapping[str, Path],
    *,
    title: str,
    mixture: Path | AudioSource | None = None,
    details: Mapping[str, str] | None = None,
) -> str:
    """Return the page of `write_page` as a string, with all audio in it whatever its length.

    Parameters
    ----------
    stems : mapping of str to Path
        The audio file of every stem.
    title : str
        The heading.
    mixture : Path or AudioSource, optional
        The original; the sum of the stems without it.
    details : mapping of str to str, optional
        What else to show.

    Returns
    -------
    str
        HTML.
    """
    _check(stems, {})
    with encoded(_sources(stems, mixture, 1.0)) as tracks:
        document = Document(title, tracks, mixture is not None, details or {})
        return b"".join(document.pieces()).decode()


def _check(stems: Mapping[str, Path], downloads: Mapping[str, str]) -> None:
    """Raise if there is nothing to play, or a download that is not one."""
    if not stems:
        raise ValueError("there are no stems to play; give at least one")
    for name, url in downloads.items():
        if name not in stems:
            raise ValueError(f"downloads has {name!r}, which is not one of {', '.join(stems)}")
        parts = urlsplit(url)
        if parts.scheme or parts.netloc or not re.fullmatch(r"[!#-;=?-\[\]_a-z~]+", url):
            raise ValueError(
                f"the download of {name!r} is {url!r}; give a relative URL, quoted by "
                "urllib.parse.quote"
            )


def _sources(
    stems: Mapping[str, Path], mixture: Path | AudioSource | None, mixture_gain: float
) -> list[Source]:
    """Return the stems and the original in the order of the page."""
    sources = [Source(name, AudioSource(Path(path))) for name, path in stems.items()]
    if mixture is not None:
        part = mixture if isinstance(mixture, AudioSource) else AudioSource(Path(mixture))
        sources.append(Source("original", part, mixture_gain))
    return sources


def _write_sidecar(folder: Path, number: int, track: Track) -> str:
    """Write the audio of a track as a script; return its name, which changes with the audio."""
    digest = hashlib.sha256(track.audio.read_bytes()).hexdigest()[:8]
    path = folder / f"index-audio-{number}-{digest}.js"
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(f'player.receive({number}, "'.encode())
        file.writelines(base64_of(track.audio))
        file.write(b'")\n')
    return path.name


def _remove_other_sidecars(folder: Path, sidecars: list[str]) -> None:
    """Remove what an earlier page had beside it."""
    for path in folder.glob("index-audio-*.js"):
        if _SIDECAR.fullmatch(path.name) and path.name not in sidecars:
            path.unlink(missing_ok=True)
