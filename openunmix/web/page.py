"""The player page: one HTML file that plays stems and needs nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from openunmix._files import replacing
from openunmix.audio import AudioSource
from openunmix.errors import AudioFileError
from openunmix.web._document import Document, base64_of
from openunmix.web._stems import EncodedStem, StemSource, encoded

#: Maximum bytes of base64 audio in a page: four stems and the original of about four minutes.
MAX_AUDIO_SIZE = 24_000_000

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

    The page works offline and from ``file://``. Its audio is Opus at about 112 kbit/s. If that
    exceeds 24 MB, it is written beside the page, as scripts ``index-audio-<number>-<hash>.js``,
    because browsers load no other files from disk.

    Parameters
    ----------
    folder : Path
        Output folder; created if it does not exist.
    stems : mapping of str to Path
        Audio file of every stem, in the order of the page.
    title : str
        Heading.
    mixture : Path or AudioSource, optional
        The original to compare with. Without it, the original is the sum of the stems.
    mixture_gain : float
        Gain of the original: the one by which the stems were scaled to avoid clipping.
    details : mapping of str to str, optional
        Additional information to show: model, settings, licence.
    downloads : mapping of str to str, optional
        By stem, the quoted relative URL of a lossless file to download. Without it, the page
        offers a WAV of its own audio.

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
    try:
        with _document(stems, title, mixture, mixture_gain, details, downloads, folder) as document:
            beside = document.audio_size > MAX_AUDIO_SIZE
            sidecars = [
                _write_sidecar(folder, *item) for item in enumerate(document.tracks) if beside
            ]
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
    mixture: Path | None = None,
    details: Mapping[str, str] | None = None,
) -> str:
    """Page of :func:`write_page` as a string, with all audio in it whatever its size."""
    with _document(stems, title, mixture, details=details) as document:
        return b"".join(document.pieces()).decode()


@contextmanager
def _document(
    stems: Mapping[str, Path],
    title: str,
    mixture: Path | AudioSource | None,
    gain: float = 1.0,
    details: Mapping[str, str] | None = None,
    downloads: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Document]:
    """Page whose encoded audio is in ``folder`` as long as the block lasts."""
    _check(stems, downloads or {})
    sources = [StemSource(name, AudioSource(Path(path))) for name, path in stems.items()]
    if mixture is not None:
        audio = mixture if isinstance(mixture, AudioSource) else AudioSource(Path(mixture))
        sources.append(StemSource("original", audio, gain))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with encoded(sources, folder) as encoded_stems:
        yield Document(title, encoded_stems, mixture is not None, details or {}, downloads or {})


def _check(stems: Mapping[str, Path], downloads: Mapping[str, str]) -> None:
    """Raise ValueError without stems, or if a download is not of a stem or not a relative URL."""
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


def _write_sidecar(folder: Path, number: int, stem: EncodedStem) -> str:
    """Write the audio of a stem as a script; return its name, which contains a hash."""
    digest = hashlib.sha256(stem.audio.read_bytes()).hexdigest()[:8]
    path = folder / f"index-audio-{number}-{digest}.js"
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(f'player.receive({number}, "'.encode())
        file.writelines(base64_of(stem.audio))
        file.write(b'")\n')
    return path.name


def _remove_other_sidecars(folder: Path, sidecars: list[str]) -> None:
    """Remove the scripts of an earlier page."""
    for path in folder.glob("index-audio-*.js"):
        if _SIDECAR.fullmatch(path.name) and path.name not in sidecars:
            path.unlink(missing_ok=True)
