"""Voices from Debian packages: fetched by name, decoded, screened, one waveform a speaker."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from openunmix.audio import read_audio, resample
from openunmix.errors import AudioFileError

__all__ = ["PACKAGES", "SAMPLE_RATE", "VALIDATION_VOICES", "Package", "fetch", "voices_of"]

SAMPLE_RATE = 16000

_FRAME = SAMPLE_RATE // 50
_SILENCE = 1e-4  # RMS of a frame, full scale at 1
_LEVEL = 0.05  # RMS of speech as it is kept
_LEFT_OUT = (
    # Beeps, tones, silence and jokes among telephone prompts.
    r"asterisk.*(beep|tone|silence|monkeys|weasels|glorious|demo-echotest-done)",
    r"asterisk.*confbridge-(join|leave)$",
    # Readers of the games of KDE in the languages that validation has of KLettres.
    r"(kajongg|ktuberling-data)/(de|en|nds|uk)/",
)


class Package(NamedTuple):
    """A package with speech.

    Attributes
    ----------
    name : str
        Its name in Debian.
    folder, pattern : str
        Where its recordings are, and what their names match.
    licence : str
        Terms of use, as its copyright file states them.
    """

    name: str
    folder: str
    pattern: str
    licence: str


_ASTERISK = "usr/share/asterisk/sounds"
_FISH = "usr/share/games/fillets-ng/sound"
_STAMPS = "usr/share/tuxpaint/stamps"

PACKAGES = (
    Package("asterisk-core-sounds-en-g722", _ASTERISK, "*.g722", "CC BY-SA 3.0, Allison Smith"),
    Package("asterisk-core-sounds-es-g722", _ASTERISK, "*.g722", "CC BY-SA 3.0, Allison Smith"),
    Package("asterisk-core-sounds-fr-g722", _ASTERISK, "*.g722", "CC BY-SA 3.0, June Wallack"),
    Package("asterisk-core-sounds-it-g722", _ASTERISK, "*.g722", "CC BY 3.0, Carlo Flora"),
    Package("asterisk-core-sounds-ru-g722", _ASTERISK, "*.g722", "CC BY 3.0, Maxim Topal"),
    Package("festvox-ru", "usr/share/festival", "*.wav", "BSD-like, Nickolay V. Shmyrev"),
    Package("fillets-ng-data-cs", _FISH, "*.ogg", "GPL 2, ALTAR interactive"),
    Package("fillets-ng-data-nl", _FISH, "*.ogg", "GPL 2, the Fish Fillets NG team"),
    Package("klettres-data", "usr/share/klettres", "*.ogg", "GPL 2 or later, the KLettres team"),
    Package("gcin-voice", "usr/share/gcin-voice/ogg", "*.ogg", "LGPL 3, CC BY 3.0, Liu and Chu Lo"),
    Package("kajongg", "usr/share/kajongg/voices", "*.ogg", "GPL 2 or later, the Kajongg team"),
    Package("ktuberling-data", "usr/share/ktuberling/sounds", "*/*", "GPL 2 or later, KDE"),
    Package("qabcs-data", "usr/share/qabcs/abcs", "*/sounds/*/*.ogg", "GPL 3 or later, DanSoft"),
    Package("tuxpaint-stamps-default", _STAMPS, "*_desc*.ogg", "GPL 2, the Tux Paint team"),
)

#: Speakers that are heard in validation only: two that speak, four for the babble behind them.
VALIDATION_VOICES = (
    "asterisk-fr",
    "asterisk-it",
    "klettres-de",
    "klettres-en_GB",
    "klettres-nds",
    "klettres-uk",
)


def fetch(package: Package, cache: Path) -> Path:
    """Download a package and unpack it, unless that was done before.

    Parameters
    ----------
    package : Package
        What to fetch.
    cache : Path
        Folder for packages.

    Returns
    -------
    Path
        Where its files are.
    """
    folder = cache / package.name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package.name], cwd=cache, check=True)
        (archive,) = cache.glob(f"{package.name}_*.deb")
        unpacked = cache / f"{package.name}.part"
        shutil.rmtree(unpacked, ignore_errors=True)
        subprocess.run(["dpkg", "-x", archive.name, unpacked.name], cwd=cache, check=True)
        unpacked.rename(folder)
    return folder


def voices_of(package: Package, cache: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Read the speech in a package.

    Parameters
    ----------
    package : Package
        The package.
    cache : Path
        Folder for packages.

    Yields
    ------
    voice : str
        Who speaks.
    clip : numpy.ndarray [shape=(samples,)]
        Speech at 16 kHz and one level, silence around it removed.
    """
    folder = fetch(package, cache) / package.folder
    for path in sorted(folder.rglob(package.pattern)):
        relative = path.relative_to(folder)
        what = f"{package.name}/{relative.with_suffix('')}"
        if any(re.match(pattern, what) for pattern in _LEFT_OUT):
            continue
        try:
            clip = _screened(_decoded(path))
        except AudioFileError:  # some are empty
            continue
        if clip is not None:
            yield _voice(package.name, relative), clip


def _voice(package: str, path: Path) -> str:
    """Name the speaker of a recording, given its path in the package's folder."""
    collection = package.split("-")[0]
    speaker = path.parts[0]
    if collection == "asterisk":
        language = package.split("-")[3]
        # The English and the Spanish prompts are spoken by one person.
        speaker = "en" if language == "es" else language
    elif collection == "festvox":
        speaker = "ru"
    elif collection == "fillets":
        role = re.match(r"[^-]+-([mv])-", path.name)
        speaker = f"{path.parent.name}-{role[1] if role else 'others'}"
    elif collection == "gcin":
        speaker = path.stem
    elif collection == "tuxpaint":
        speaker = re.search(r"_desc_?(\w*)", path.name)[1] or "en"
    return f"{collection}-{speaker}"


def _decoded(path: Path) -> np.ndarray:
    """Read a recording as one channel (samples,) at 16 kHz, empty if it was sampled at less."""
    if path.suffix == ".g722":
        with av.open(str(path), format="g722") as file:
            frames = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
        if not frames:
            return np.zeros(0, dtype=np.float32)
        return np.concatenate(frames).astype(np.float32) / 32768
    waveform, rate = read_audio(path)
    if rate < SAMPLE_RATE:  # there is no treble in it
        return np.zeros(0, dtype=np.float32)
    mono = waveform.mean(dim=0, keepdim=True)
    return np.asarray(resample(mono, rate, SAMPLE_RATE))[0]


def _screened(clip: np.ndarray) -> np.ndarray | None:
    """Return a recording at the common level without silence around it, None if it is no speech.

    Speech has pauses: a recording whose level hardly changes is a tone or noise, and one whose
    pauses are loud has noise behind the voice.
    """
    frames = len(clip) // _FRAME
    if frames < 15:
        return None
    power = np.square(clip[: frames * _FRAME]).reshape(frames, _FRAME).mean(axis=1)
    level = np.sqrt(power)
    loud = np.quantile(level, 0.9)
    if loud < 10 * _SILENCE or np.quantile(level, 0.1) > 0.5 * loud or level.min() > 0.03 * loud:
        return None
    active = np.flatnonzero(level > 0.03 * loud)
    first, last = max(active[0] - 3, 0), min(active[-1] + 6, frames)
    if last - first < 15:
        return None
    speech = clip[first * _FRAME : last * _FRAME] * (
        _LEVEL / np.sqrt(power[level > 0.1 * loud].mean())
    )
    return speech / max(1.0, np.abs(speech).max())
